package reactor

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQueueIsFirstInFirstOut(t *testing.T) {
	var q queue[int]
	random := rand.New(rand.NewPCG(1, 2))
	in, out := 0, 0
	for range 10000 {
		if q.len() == 0 || random.IntN(100) < 52 {
			q.push(in)
			in++
		} else {
			require.Equal(t, out, q.pop())
			out++
		}
		require.Equal(t, in-out, q.len())
	}
}

func TestQueueKeepsNoReference(t *testing.T) {
	var q queue[*int]
	for range 20 {
		q.push(new(int))
	}
	for range 20 {
		q.pop()
	}
	for _, p := range q.items {
		require.Nil(t, p)
	}
}
