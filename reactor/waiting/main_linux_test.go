package waiting

import (
	"testing"

	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Role{"producer": producerRole})
}
