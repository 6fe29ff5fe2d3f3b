package journal

import (
	"testing"
	"unsafe"
)

func TestEntryIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size > 56 {
		t.Errorf("an entry has %d bytes, want at most 56: Memory's comment says so, and thousands are kept", size)
	}
}
