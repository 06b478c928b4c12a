package handoff

import (
	"testing"

	"github.com/shmloop/shmloop/memfd/proctest"
)

// roles are added by the files that use them.
var roles = map[string]proctest.Role{}

func TestMain(m *testing.M) { proctest.Main(m, roles) }
