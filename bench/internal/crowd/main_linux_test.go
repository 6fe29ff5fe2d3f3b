package crowd

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childFlag makes the test binary a crowd, for the test of Start.
const childFlag = "be-a-crowd"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childFlag {
		c, err := New()
		if err == nil {
			err = c.Serve(os.Stdin, os.Stdout)
		}
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
