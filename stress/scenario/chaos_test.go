package scenario

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/sharedring"
	"github.com/shmloop/shmloop/sharedring/ringbuf"
	"github.com/shmloop/shmloop/stress/harness"
)

func seen(end error, numbers ...uint64) *account {
	a := &account{received: uint64(len(numbers)), closed: true, end: end}
	for _, n := range numbers {
		a.check.See(n)
	}
	return a
}

func TestJudgeHonest(t *testing.T) {
	var r harness.Result
	two := []*account{seen(nil, 0, 1), seen(nil, 0)}
	require.NoError(t, judgeHonest(&client{done: 3}, two, &r))
	require.Zero(t, r)
	require.NoError(t, judgeHonest(&client{done: 5}, two, &r))
	require.Equal(t, harness.Result{Lost: 2}, r, "the last ones")

	r = harness.Result{}
	require.NoError(t, judgeHonest(&client{done: 4}, []*account{seen(nil, 1, 0, 0, 3)}, &r))
	require.Equal(t, harness.Result{Lost: 1, Duplicated: 1, Reordered: 1}, r)

	require.Error(t, judgeHonest(&client{done: 1}, []*account{seen(sharedring.ErrPeerGone, 0)}, &r), "taken for dead")
	require.Error(t, judgeHonest(&client{done: 1}, []*account{{received: 1}}, &r), "its end was not seen")
	require.NoError(t, judgeHonest(&client{}, []*account{seen(sharedring.ErrPeerGone)}, &r), "told to end while it was connecting")
}

func TestJudgeKilled(t *testing.T) {
	var r harness.Result
	require.NoError(t, judgeKilled(&client{}, nil, &r), "killed before it was connected")
	require.NoError(t, judgeKilled(&client{done: 2}, []*account{seen(sharedring.ErrPeerGone, 0, 1, 2)}, &r), "and one more")
	require.Zero(t, r)
	require.NoError(t, judgeKilled(&client{done: 2}, []*account{seen(sharedring.ErrPeerGone, 0)}, &r))
	require.Equal(t, harness.Result{Lost: 1}, r)
	require.Error(t, judgeKilled(&client{done: 1}, []*account{seen(nil, 0)}, &r), "taken for a clean end")
	require.Error(t, judgeKilled(&client{done: 1}, nil, &r), "never seen")
}

func TestJudgeHostile(t *testing.T) {
	refused := uint64(1)
	counts := &client{role: attacks[0].role, done: 2}
	require.NoError(t, judgeHostile(counts, []*account{seen(ringbuf.ErrCorrupt), seen(ringbuf.ErrCorrupt)}, &refused))
	require.NoError(t, judgeHostile(counts, []*account{seen(ringbuf.ErrCorrupt)}, &refused), "the other was refused")
	require.Zero(t, refused)
	require.Error(t, judgeHostile(counts, []*account{seen(ringbuf.ErrCorrupt)}, &refused))
	storms := &client{role: attacks[2].role, done: 1}
	require.Error(t, judgeHostile(storms, []*account{seen(errors.New("other"))}, &refused), "for another reason")
	require.Error(t, judgeHostile(storms, []*account{{}}, &refused), "not at all")
}

func TestAttacksHaveTheirRoles(t *testing.T) {
	for i := range attacks {
		require.Same(t, &attacks[i], attackOf(attacks[i].role))
		require.NotEmpty(t, attacks[i].noticed)
	}
}
