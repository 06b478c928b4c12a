package harness

import (
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var flagsScenario = Scenario{
	Name:     "fanin",
	Sizes:    []int{64, 1 << 20},
	Defaults: Params{Rings: 100, Producers: 8, Duration: time.Second},
	Quick:    Params{Size: 128, Rings: 10, Duration: 200 * time.Millisecond},
	Paced:    true,
	Arms:     named("ring", "unix", "pipe"),
}

func TestFlags(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		params Params
		sizes  []int
		arms   []string
		rounds int
	}{
		"defaults":     {nil, Params{Rings: 100, Producers: 8, Duration: time.Second}, []int{64, 1 << 20}, []string{"ring", "unix", "pipe"}, 10},
		"quick":        {[]string{"-quick"}, Params{Rings: 10, Producers: 8, Duration: 200 * time.Millisecond}, []int{128}, []string{"ring", "unix", "pipe"}, 4},
		"over quick":   {[]string{"-quick", "-rings", "1000", "-size", "64", "-duration", "10s"}, Params{Rings: 1000, Producers: 8, Duration: 10 * time.Second}, []int{64}, []string{"ring", "unix", "pipe"}, 4},
		"given":        {[]string{"-rings", "5", "-producers", "5", "-rate", "1000"}, Params{Rings: 5, Producers: 5, Rate: 1000, Duration: time.Second}, []int{64, 1 << 20}, []string{"ring", "unix", "pipe"}, 10},
		"few rings":    {[]string{"-rings", "2"}, Params{Rings: 2, Producers: 2, Duration: time.Second}, []int{64, 1 << 20}, []string{"ring", "unix", "pipe"}, 10},
		"sizes":        {[]string{"-size", "4KiB, 64,64 B,1 MiB"}, Params{Rings: 100, Producers: 8, Duration: time.Second}, []int{4096, 64, 1 << 20}, []string{"ring", "unix", "pipe"}, 10},
		"chosen arms":  {[]string{"-arms", "pipe, ring,pipe"}, Params{Rings: 100, Producers: 8, Duration: time.Second}, []int{64, 1 << 20}, []string{"ring", "pipe"}, 10},
		"a short time": {[]string{"-duration", "1ns"}, Params{Rings: 100, Producers: 8, Duration: 1}, []int{64, 1 << 20}, []string{"ring", "unix", "pipe"}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := parse(flagsScenario, test.args)
			require.NoError(t, err)
			require.Equal(t, test.params, set.params)
			require.Equal(t, test.sizes, set.sizes)
			require.Equal(t, test.rounds, set.rounds)
			var arms []string
			for _, a := range set.arms {
				arms = append(arms, a.Name)
			}
			require.Equal(t, test.arms, arms)
		})
	}
}

func TestFlagErrorsSayWhatToDo(t *testing.T) {
	for want, args := range map[string][]string{
		`-arms: no arm "what"; there are ring, unix, pipe`:               {"-arms", "ring,what"},
		`-arms: no arm ""; there are ring, unix, pipe`:                   {"-arms", ""},
		`unexpected argument "more"`:                                     {"-quick", "more"},
		`-rings 0: at least 1 is needed`:                                 {"-rings", "0"},
		`-producers -1: at least 1 is needed`:                            {"-producers", "-1"},
		`-producers 6: there are 5 rings, and each process needs one`:    {"-producers", "6", "-rings", "5"},
		`-rate -1: a number of messages a second, or 0`:                  {"-rate", "-1"},
		`-duration 0s: a time above 0 is needed`:                         {"-duration", "0"},
		`-size "": a number of bytes is needed, as in 64, 4KiB, 1MiB`:    {"-size", ""},
		`-size "4kb": a number of bytes is needed, as in 64, 4KiB, 1MiB`: {"-size", "4kb"},
		`-size 7: 8 bytes to 1 GiB are possible`:                         {"-size", "7"},
		`-size -1KiB: 8 bytes to 1 GiB are possible`:                     {"-size", "-1KiB"},
		`-size 2GiB: 8 bytes to 1 GiB are possible`:                      {"-size", "2GiB"},
		`-size 9007199254740993KiB: 8 bytes to 1 GiB are possible`:       {"-size", "9007199254740993KiB"},
		`-json: the name of a file or - is missing`:                      {"-json", ""},
		`flag provided but not defined: -what`:                           {"-what"},
		`invalid value "x" for flag -rings: parse error`:                 {"-rings", "x"},
		`invalid value "5" for flag -duration: parse error`:              {"-duration", "5"},
	} {
		_, err := parse(flagsScenario, args)
		require.EqualError(t, err, want, "%q", args)
	}
}

func TestFlagsOfOtherScenarios(t *testing.T) {
	plain := Scenario{Name: "echo", Sizes: []int{64}, Defaults: Params{Duration: time.Second}, Arms: named("ring")}
	for _, name := range []string{"rings", "producers", "rate"} {
		_, err := parse(plain, []string{"-" + name, "1"})
		require.EqualError(t, err, "scenario echo has no -"+name)
	}
	_, err := parse(plain, []string{"-h"})
	require.ErrorIs(t, err, flag.ErrHelp)
}
