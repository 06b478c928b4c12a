package conformance

import (
	"testing"
	"time"

	"github.com/shmloop/shmloop/reactor"
)

// patience ends a test that hangs; nothing is measured with it.
var patience = time.Minute

// A test is one promise. It may stop its goroutine, as FailNow does.
type test struct {
	name string
	run  func(r *rig)
}

var tests = []test{
	{"Order", testOrder},
	{"OrderFromProcess", testOrderFromProcess},
	{"OrderOfSender", testOrderOfSender},
	{"Backpressure", testBackpressure},
	{"OneAtATime", testOneAtATime},
	{"ManyAtOnce", testManyAtOnce},

	{"PartialConsumption", testPartialConsumption},
	{"Fairness", testFairness},
	{"OlderThanAttach", testOlderThanAttach},
	{"EdgeInTurn", testEdgeInTurn},
	{"WakeUps", testWakeUps},
	{"AttachAnywhere", testAttachAnywhere},
	{"AttachAgain", testAttachAgain},
	{"AttachRefuses", testAttachRefuses},

	{"Pause", testPause},
	{"PauseInTurn", testPauseInTurn},
	{"ResumeLooks", testResumeLooks},

	{"CloseMatrix", testCloseMatrix},
	{"CloseWaitsForTurn", testCloseWaitsForTurn},
	{"CloseInClosed", testCloseInClosed},
	{"CloseChurn", testCloseChurn},
	{"CloseOrClosed", testCloseOrClosed},

	{"ReadyFails", testReadyFails},
	{"SourceFails", testSourceFails},
	{"Panics", testPanics},
	{"Poison", testPoison},
	{"CleanEnd", testCleanEnd},
	{"KilledSender", testKilledSender},
	{"KilledBeforeDoorbell", testKilledBeforeDoorbell},
	{"KilledReceiver", testKilledReceiver},

	{"Posts", testPosts},
	{"PostsBeforeClose", testPostsBeforeClose},
	{"LoopClose", testLoopClose},
	{"LoopCloseInCallback", testLoopCloseInCallback},
	{"LoopCloseByMany", testLoopCloseByMany},
}

// A variant is how patient the loop is with rings that ran dry.
type variant struct {
	name string
	hot  bool // for ever: nothing is armed
	opts []reactor.Option
}

var variants = []variant{
	{"asleep", false, []reactor.Option{reactor.WithSpin(0), reactor.WithNap(0)}},
	{"adaptive", false, nil},
	{"hot", true, []reactor.Option{reactor.WithSpin(time.Hour)}},
}

// Run runs the suite, each test as a subtest of t: with rings that are put to sleep as
// soon as they are dry, as it comes by default, and with rings that stay hot.
func Run(t *testing.T, d Driver) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			for _, c := range tests {
				t.Run(c.name, func(t *testing.T) { c.run(newRig(t, d, v)) })
			}
		})
		if d.NeverHot {
			return
		}
	}
}
