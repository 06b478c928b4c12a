package scenario

import (
	"context"
	"errors"
)

// pipeBytes is what a pipe holds: the most that an ordinary user can ask for
// (fs.pipe-max-size, pipe(7)).
const pipeBytes = 1 << 20

// openPipe makes a pipe to this process.
func openPipe(context.Context) (*end, []int, error) {
	r, w, err := newPipe(pipeBytes)
	if err != nil {
		return nil, nil, err
	}
	return fdEnd(r, noFD), []int{w}, nil
}

// openPipes makes a pipe each way.
func openPipes(context.Context) (*end, []int, error) {
	in, theirOut, err := newPipe(pipeBytes)
	if err != nil {
		return nil, nil, err
	}
	theirIn, out, err := newPipe(pipeBytes)
	if err != nil {
		return nil, nil, errors.Join(err, closeFD(in), closeFD(theirOut))
	}
	return fdEnd(in, out), []int{theirIn, theirOut}, nil
}

func dialPipe(context.Context) (*end, error) { return fdEnd(noFD, firstFile), nil }

func dialPipes(context.Context) (*end, error) { return fdEnd(firstFile, firstFile+1), nil }
