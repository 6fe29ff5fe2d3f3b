package tlscrowd

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childWord makes the test binary a process of clients.
const childWord = "be-clients"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childWord {
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
