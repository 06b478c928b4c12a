// Package interop holds tests only: a ring of package sharedring with the published
// Rust crate shmem-ipc 0.3.0 at its other end.
//
// The Rust end is a program of its own under peer/, which uses the crate's public
// calls as any user of it would. The tests build it with cargo, start it as a child
// process, move tens of millions of items each way, and compare checksums.
//
// Without cargo the tests are skipped; SHMLOOP_REQUIRE_PEERS=1 makes that a failure.
// The build goes to CARGO_TARGET_DIR, or else to the user's cache directory.
package interop
