package authn

import (
	"errors"
	"fmt"
	"testing"
)

// The outermost refusal is the kind, whatever its cause is; what is none of the four is a fault.
func TestKindOf(t *testing.T) {
	kinds := []error{ErrAbsent, ErrRejected, ErrForbidden, ErrUnavailable}
	for _, kind := range kinds {
		for _, cause := range kinds {
			for _, err := range []error{
				&Error{Kind: kind, Err: cause},
				&Error{Kind: kind, Err: fmt.Errorf("on the way: %w", &Error{Kind: cause})},
				fmt.Errorf("more: %w", &Error{Kind: kind, Err: cause}),
				&Error{Kind: fmt.Errorf("my own: %w", kind), Err: cause},
			} {
				if got := KindOf(err); got != kind { //nolint:errorlint // it is one of the four itself
					t.Errorf("%#v is %v, want %v", err, got, kind)
				}
			}
		}
		if got := KindOf(fmt.Errorf("my own: %w", kind)); got != kind { //nolint:errorlint // as above
			t.Errorf("a bare %v is %v", kind, got)
		}
		if got := KindOf(errors.Join(kind, ErrUnavailable)); got != ErrUnavailable { //nolint:errorlint // as above
			t.Errorf("%v and unavailable are %v", kind, got)
		}
	}
	for _, err := range []error{nil, errors.New("odd"), &Error{Kind: errors.New("odd"), Err: ErrAbsent}, &Error{Err: ErrRejected}} {
		if got := KindOf(err); got != nil {
			t.Errorf("%#v is %v, want none", err, got)
		}
	}
}
