package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// Many changes are one look through the connections, which finds those that they are about.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		query, err := authn.NewQuery("token")
		if err != nil {
			t.Fatal(err)
		}
		chain, err := authn.NewChain(authn.Source{Extractor: query, Verifier: anyToken{}})
		if err != nil {
			t.Fatal(err)
		}
		type connection struct {
			id   *session.Identity
			kept *authn.Kept
		}
		connections := []connection{{id: session.Anonymous()}, {id: &session.Identity{Subject: "9", Source: "ticket"}}}
		for _, token := range []string{"1", "2", "3"} {
			r := &authn.Request{RawQuery: []byte("token=" + token)}
			f, err := chain.Find(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			connections = append(connections, connection{f.Identity, chain.Keep(f, r)})
		}
		looks, soon := 0, 0
		var found []string
		var last func(*session.Identity, *authn.Kept) bool
		look := func(match func(*session.Identity, *authn.Kept) bool) int {
			for _, conn := range connections {
				if match(conn.id, conn.kept) {
					found = append(found, conn.id.Subject)
				}
			}
			return 0
		}
		c := newChanges(lookers{
			at: func(match func(*session.Identity, *authn.Kept) bool) int {
				looks++
				last = match
				return look(match)
			},
			soon: func(match func(*session.Identity, *authn.Kept) bool) int {
				soon++
				return look(match)
			},
		})
		digest := func(kind authn.ChangeKind, token string) authn.Change {
			return authn.Change{Kind: kind, Digest: authn.CredentialDigest([]byte(token))}
		}
		want := func(n int, subjects ...string) {
			t.Helper()
			c.mu.Lock()
			defer c.mu.Unlock()
			if looks != n || !slices.Equal(found, subjects) {
				t.Errorf("%d looks found %q, want %d and %q", looks, found, n, subjects)
			}
			looks, found = 0, nil
		}
		for _, change := range []authn.Change{
			digest(authn.ChangeToken, "1"), digest(authn.ChangeSession, "3"), digest(authn.ChangeToken, "nobody's"),
			{Kind: authn.ChangeUser, User: "9"},
			{Kind: authn.ChangeUser, User: "9"},
			{Kind: authn.ChangeUser, User: "nobody"},
		} {
			c.note(change, nil)
		}
		time.Sleep(changesWait - time.Millisecond)
		want(0)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		want(1, "9", "1", "3")
		first := last

		c.note(authn.Change{Kind: authn.ChangeAll}, []string{"drf", "ticket"})
		want(0, "9")
		c.note(authn.Change{Kind: authn.ChangeAll}, []string{"any"})
		want(0, "1", "2", "3")
		if soon != 2 {
			t.Errorf("%d looks without haste, want 2", soon)
		}
		c.note(authn.Change{Kind: authn.ChangeUser}, nil) // of nobody: anonymous clients have no user
		time.Sleep(time.Second)
		synctest.Wait()
		want(1)

		for i := range 2*maxChanges + 1 { // so many do not wait
			c.note(digest(authn.ChangeSession, "s"+strconv.Itoa(i)), nil)
		}
		want(2)
		c.note(authn.Change{Kind: authn.ChangeUser, User: "2"}, nil)
		time.Sleep(time.Second)
		synctest.Wait()
		want(1, "2")
		look(first) // a gateway asks once more about connections that come meanwhile
		want(0, "9", "1", "3")
	})
}

// lookers is a gateway that only counts.
type lookers struct {
	at, soon func(match func(*session.Identity, *authn.Kept) bool) int
}

func (l lookers) Recheck(match func(*session.Identity, *authn.Kept) bool) int { return l.at(match) }

func (l lookers) RecheckSoon(match func(*session.Identity, *authn.Kept) bool) int {
	return l.soon(match)
}

// anyToken takes a token for the user's number.
type anyToken struct{}

func (anyToken) Verify(_ context.Context, c authn.Credential) (*session.Identity, error) {
	return &session.Identity{Subject: string(bytes.Clone(c.Value)), Source: "any"}, nil
}

// BenchmarkChanges is one look through 15,000 connections for the change of a session that is nobody's here, and what 50 of
// them a second come to, the most that there are, in percent of a core.
func BenchmarkChanges(b *testing.B) {
	query, err := authn.NewQuery("token")
	if err != nil {
		b.Fatal(err)
	}
	chain, err := authn.NewChain(authn.Source{Extractor: query, Verifier: anyToken{}})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		size int
	}{{"tokens", 40}, {"JWTs", 900}} {
		b.Run(c.name, func(b *testing.B) {
			var kept [15_000]*authn.Kept
			var ids [len(kept)]*session.Identity
			for i := range kept {
				r := &authn.Request{RawQuery: fmt.Appendf(nil, "token=%0*d", c.size, i)}
				f, err := chain.Find(b.Context(), r)
				if err != nil {
					b.Fatal(err)
				}
				kept[i], ids[i] = chain.Keep(f, r), f.Identity
			}
			n := 0
			changes := newChanges(lookers{at: func(match func(*session.Identity, *authn.Kept) bool) int {
				for i := range kept {
					if match(ids[i], kept[i]) {
						n++
					}
				}
				return 0
			}})
			nobodys := authn.Change{Kind: authn.ChangeSession, Digest: authn.CredentialDigest([]byte("nobody's"))}
			b.ReportAllocs()
			for b.Loop() {
				changes.note(nobodys, nil)
				changes.look()
			}
			b.ReportMetric(100*50*b.Elapsed().Seconds()/float64(b.N), "%core")
			if n > 0 {
				b.Errorf("%d match", n)
			}
		})
	}
}
