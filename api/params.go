package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fairlead-ws/fairlead/session"
)

// parameters returns the query's parameters, which are from the names given. One that is not is an error: a filter with a
// slip in its name would mean everything.
func parameters(r *http.Request, names ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("parameter", "the query is not well-formed")
	}
	want := "want none"
	if len(names) > 0 {
		want = "want " + strings.Join(names, ", ")
	}
	for name, list := range values {
		switch {
		case !slices.Contains(names, name):
			return nil, badRequest("parameter", fmt.Sprintf("there is no parameter %.40q; %s", name, want))
		case len(list) > 1:
			return nil, badRequest("parameter", name+" is there twice; want it once")
		case !utf8.ValidString(list[0]):
			return nil, badRequest("parameter", name+" is not UTF-8")
		}
	}
	return values, nil
}

// limitOf returns the parameter limit.
func limitOf(values url.Values) (int, error) {
	text := values.Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, badRequest("parameter", fmt.Sprintf("limit is %.20q; want 1 to %d", text, maxLimit))
	}
	return n, nil
}

// pathID returns the session of the path.
func pathID(r *http.Request) (session.ID, error) {
	id, err := session.ParseID(r.PathValue("id"))
	if err != nil {
		return id, badRequest("session", err.Error())
	}
	return id, nil
}

// pathSubject returns the user of the path.
func pathSubject(r *http.Request) (string, error) {
	subject := r.PathValue("subject")
	if subject == "" || len(subject) > maxSubject || !utf8.ValidString(subject) {
		return "", badRequest("user", fmt.Sprintf("want the user's subject, 1 to %d bytes of UTF-8, with / written %%2F", maxSubject))
	}
	return subject, nil
}
