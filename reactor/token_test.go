package reactor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTableRetiresTokens(t *testing.T) {
	table := newTable()
	a, b := new(Registration), new(Registration)
	ka := table.add(a)
	require.NotEqual(t, wakeToken.slot, ka.slot)
	require.Same(t, a, table.find(ka))

	table.remove(ka)
	require.Nil(t, table.find(ka))
	kb := table.add(b)
	require.Equal(t, ka.slot, kb.slot, "slots are used again")
	require.Nil(t, table.find(ka), "by another generation")
	require.Same(t, b, table.find(kb))
	require.Equal(t, 1, table.live)
}

func TestTableFindsNothingForForeignTokens(t *testing.T) {
	table := newTable()
	table.add(new(Registration))
	for _, k := range []token{wakeToken, {slot: 1, generation: 1}, {slot: 2}, {slot: 1<<32 - 1}} {
		require.Nil(t, table.find(k), k)
	}
}

func TestTableNext(t *testing.T) {
	table := newTable()
	var regs [5]Registration
	var tokens [5]token
	for i := range regs {
		tokens[i] = table.add(&regs[i])
	}
	table.remove(tokens[0])
	table.remove(tokens[3])
	from := 0
	for _, i := range []int{1, 2, 4} {
		require.Same(t, &regs[i], table.next(&from))
		table.remove(tokens[i])
	}
	require.Nil(t, table.next(&from))
}

func TestTableGenerationWraps(t *testing.T) {
	table := newTable()
	k := table.add(new(Registration))
	table.slots[k.slot].generation = 1<<32 - 1
	k.generation = 1<<32 - 1
	table.remove(k)
	next := table.add(new(Registration))
	require.Equal(t, token{slot: k.slot}, next)
	require.Nil(t, table.find(k))
}
