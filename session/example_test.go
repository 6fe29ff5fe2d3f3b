package session_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead-ws/fairlead/session"
)

// The life of a session, as a journal holds it, is folded to the session's state: before its end, and after it.
func ExampleFold() {
	const journal = `
{"v":1,"t":"2026-11-24T12:00:01Z","s":"dc2nog01081g81860s40-7","n":1,"k":"opened","e":{"identity":{"subject":"42","source":"drf"},"route":"/ws/{group}","protocol":"raw","groups":["app_1234"]}}
{"v":1,"t":"2026-11-24T12:00:02Z","s":"dc2nog01081g81860s40-7","n":2,"k":"joined","e":{"group":"news"}}
{"v":1,"t":"2026-11-24T12:00:09Z","s":"dc2nog01081g81860s40-7","n":3,"k":"closed","e":{"code":1001,"reason":"the client went away"}}`

	var records []session.Record
	for line := range strings.Lines(strings.TrimSpace(journal)) {
		var r session.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			fmt.Println(err)
			return
		}
		records = append(records, r)
	}

	s := session.Fold(slices.Values(records[:2]))
	fmt.Println(s.ID, s.Phase, s.Identity.Subject, s.Groups)
	s = session.Fold(slices.Values(records))
	fmt.Println(s.ID, s.Phase, s.Code, s.Groups)
	// Output:
	// dc2nog01081g81860s40-7 open 42 [app_1234 news]
	// dc2nog01081g81860s40-7 closed 1001 []
}
