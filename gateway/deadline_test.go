package gateway

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
		defer cancel()
		at := time.Now().Add(time.Second)
		d := &deadline{parent: parent, at: at}
		if got, ok := d.Deadline(); !ok || got != at {
			t.Errorf("Deadline = %v, %v", got, ok)
		}
		if d.Err() != nil || d.Value(key{}) != "v" || d.armed.Load() != nil {
			t.Error("a fresh deadline has ended, forgot a value or runs a timer")
		}
		before := runtime.NumGoroutine()
		child, stop := context.WithTimeout(d, time.Hour)
		defer stop()
		if n := runtime.NumGoroutine(); n != before {
			t.Errorf("a child took %d goroutines", n-before)
		}
		if d.Value(key{}) != "v" || d.Err() != nil {
			t.Error("an armed deadline has ended or forgot a value")
		}
		<-child.Done()
		if !time.Now().Equal(at) || !errors.Is(d.Err(), context.DeadlineExceeded) || !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("it ended at %v with %v, its child with %v", time.Now(), d.Err(), child.Err())
		}
		d.end()
	})
}

func TestDeadlineUnarmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		passed := &deadline{parent: parent, at: time.Now().Add(time.Second)}
		ended := &deadline{parent: parent, at: time.Now().Add(time.Hour)}
		ended.end()
		if !errors.Is(ended.Err(), context.Canceled) {
			t.Errorf("ended: %v", ended.Err())
		}
		select {
		case <-ended.Done():
		default:
			t.Error("ended: Done is open")
		}
		time.Sleep(time.Second)
		if !errors.Is(passed.Err(), context.DeadlineExceeded) {
			t.Errorf("passed: %v", passed.Err())
		}
		d := &deadline{parent: parent, at: time.Now().Add(time.Hour)}
		cancel()
		if !errors.Is(d.Err(), context.Canceled) {
			t.Errorf("parent canceled: %v", d.Err())
		}
		sooner, stop := context.WithDeadline(t.Context(), time.Now().Add(time.Minute))
		defer stop()
		if at, _ := (&deadline{parent: sooner, at: time.Now().Add(time.Hour)}).Deadline(); !at.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("the parent's deadline is sooner: %v", at)
		}
	})
}
