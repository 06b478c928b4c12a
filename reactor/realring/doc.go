// Package realring holds no code but tests: loops and rings whose peer is another
// process that is killed or stopped.
package realring
