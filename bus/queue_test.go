package bus

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

type calls struct{ atomic.Int32 }

func (c *calls) BusReady() { c.Add(1) }

func newQueue(limit int) *queue[int] {
	q := &queue[int]{}
	q.init(limit)
	return q
}

func TestQueueReserve(t *testing.T) {
	q := newQueue(100)
	if !q.reserve(60) || q.reserve(50) || !q.reserve(40) || q.reserve(1) {
		t.Error("100 bytes are not 60 and 40")
	}
	q.release(100)
	if !q.reserve(1000) {
		t.Error("an empty queue refused one large item")
	}
	if q.reserve(1) || q.bytes.Load() != 1000 {
		t.Errorf("%d bytes are reserved, want 1000", q.bytes.Load())
	}
}

func TestQueueWaiters(t *testing.T) {
	q := newQueue(100)
	small, large, early := &calls{}, &calls{}, &calls{}
	q.wait(nil, 1)
	q.reserve(100)
	q.wait(small, 10)
	q.wait(large, 90)
	q.release(40)
	if small.Load() != 0 {
		t.Error("called while 60 of 100 bytes are taken")
	}
	q.release(10)
	if small.Load() != 1 || large.Load() != 0 {
		t.Errorf("at half: the small one was called %d times, the large one %d; want 1, 0", small.Load(), large.Load())
	}
	q.release(40)
	if small.Load() != 1 || large.Load() != 1 {
		t.Errorf("at 10 of 100: the small one was called %d times, the large one %d; want 1, 1", small.Load(), large.Load())
	}
	q.wait(early, 10)
	if early.Load() != 1 {
		t.Error("a waiter that came too late was not called at once")
	}
	q.reserve(90)
	q.wait(small, 10)
	q.close()
	q.wait(large, 100)
	if small.Load() != 2 || large.Load() != 2 {
		t.Error("close did not call those who wait, or those who come later")
	}
}

// A writer that fails gives back what it took for a moment, and that must wake those who saw the queue full meanwhile.
func TestQueueNoLostWakeUp(t *testing.T) {
	q := newQueue(1000)
	var waits, failed calls
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5000 {
				if q.reserve(700) {
					q.release(700)
				} else {
					failed.Add(1)
					q.wait(&waits, 700)
				}
			}
		})
	}
	wg.Wait()
	if waits.Load() != failed.Load() {
		t.Errorf("the queue is empty; %d waited, %d were called", failed.Load(), waits.Load())
	}
}

func TestQueueTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(100)
		var got []int
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			var items []int
			for ok := true; ok; {
				items, ok = q.take(items)
				got = append(got, items...)
			}
		}()
		synctest.Wait() // it sleeps
		for i := range 3 * keepItems {
			q.push(i)
		}
		synctest.Wait()
		if len(got) != 3*keepItems {
			t.Fatalf("took %d of %d items", len(got), 3*keepItems)
		}
		for i, n := range got {
			if i != n {
				t.Fatalf("item %d is %d", i, n)
			}
		}
		if c := cap(q.items); c > keepItems {
			t.Errorf("the sleeping queue keeps room for %d items", c)
		}
		q.close()
		<-ended
		if q.push(1) {
			t.Error("a closed queue took an item")
		}
	})
}

// Who claims an empty queue is its reader until it unclaims; the real one waits, and nothing is lost or out of order.
func TestQueueClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(100)
		var got []int
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for items, ok := q.take(nil); ok; items, ok = q.take(items) {
				got = append(got, items...)
				if items[0] == 3 && q.claim() {
					t.Error("claimed while the reader is at work")
				}
				clear(items)
			}
		}()
		synctest.Wait()
		if !q.claim() || q.claim() {
			t.Error("an empty queue can be claimed once, and no more than once")
		}
		q.push(1)
		q.push(2)
		synctest.Wait()
		if len(got) > 0 {
			t.Errorf("the reader took %v while the queue was claimed", got)
		}
		q.unclaim()
		synctest.Wait()
		q.push(3)
		synctest.Wait()
		if !q.claim() {
			t.Error("not claimed after the reader has done with all")
		}
		q.push(4)
		q.close()
		synctest.Wait()
		q.unclaim()
		<-ended
		if !slices.Equal(got, []int{1, 2, 3, 4}) {
			t.Errorf("the reader took %v", got)
		}
		if q.claim() {
			t.Error("a closed queue was claimed")
		}
	})
}

// A queue with something in it is not claimed: what is in it comes first.
func TestQueueClaimFull(t *testing.T) {
	q := newQueue(100)
	q.push(1)
	if q.claim() {
		t.Error("claimed")
	}
}
