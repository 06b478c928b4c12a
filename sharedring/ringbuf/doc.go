// Package ringbuf is the single-producer single-consumer ring over a []byte:
// the algorithm of a shared ring without the sharing. It makes no system call
// and knows no descriptor. What the other side has to be told is a return value.
//
// The memory holds a count of items in its first 8 bytes (native-endian), zeros
// up to byte 64, and items from there on. The count is all that the two sides
// share: a [Sender] adds what it wrote, a [Receiver] subtracts what it read, and
// each keeps its own index. This is the layout of the Rust crate shmem-ipc 0.3.
//
// # Signals
//
// A send that finds the ring empty returns signal = true: the receiver may be
// asleep and its doorbell must be rung. A receive that finds the ring full
// returns signal = true for the sender's doorbell. Ring after the call, always,
// also when what you do in between fails; nothing repeats a signal.
//
// Two habits make signals rare without a change of the layout. A receiver holds
// back the release of its last items while it is awake ([Receiver.SetHold]), so
// that the sender never finds the ring empty. A sender keeps one slot free while
// it is awake ([Sender.SetSpare]), so that the receiver never finds it full. Call
// Arm before sleeping: it gives up the habit and looks once more.
//
// # Trust
//
// The other side may write any byte at any time. Every count that is loaded is
// checked against what this side knows before it is used; a count that cannot be
// ends the ring for good with [ErrCorrupt]. Slices from Reserve and Peek point
// into the shared memory: the other side can change what they show while you look.
// Send and Receive copy; what they delivered is yours.
//
// # Goroutines
//
// One goroutine at a time may use a Sender, and one a Receiver. The two may be in
// different goroutines or processes.
package ringbuf
