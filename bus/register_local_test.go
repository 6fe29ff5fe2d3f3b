package bus

import (
	"testing"
	"testing/synctest"
	"time"
)

// What was spent is remembered for ten minutes at least, and not for ever.
func TestLocalRegisterForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewLocalRegister()
		spend := func(id string) bool {
			first, err := r.Spend(t.Context(), r.place, id)
			if err != nil {
				t.Fatal(err)
			}
			return first
		}
		time.Sleep(RegisterMemory - time.Second)
		if !spend("late") {
			t.Fatal("a new id is spent")
		}
		for range 9 {
			time.Sleep(time.Minute)
			if spend("late") {
				t.Fatal("it is forgotten too soon")
			}
		}
		time.Sleep(RegisterMemory)
		spend("another")
		if n := len(r.now) + len(r.old); n != 1 {
			t.Errorf("%d ids are remembered, want the last", n)
		}
		time.Sleep(3 * RegisterMemory)
		spend("last")
		if n := len(r.now) + len(r.old); n != 1 {
			t.Errorf("%d ids are remembered after a long pause, want the last", n)
		}
	})
}
