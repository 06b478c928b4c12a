package proctest_test

import (
	"fmt"

	"github.com/shmloop/shmloop/memfd/proctest"
)

func ExampleTake() {
	before := proctest.Take()
	// ... what must not leak ...
	fmt.Println("descriptors left open:", proctest.Take().FDs-before.FDs)
	// Output: descriptors left open: 0
}
