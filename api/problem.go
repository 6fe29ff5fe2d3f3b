package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// problem is an answer that is an error: its code is for programs and from a closed set, its message is for people.
type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`

	status     int
	retryAfter int      // seconds, 0: it does not say
	exist      []string // the endpoints that there are, where that helps
}

func (p *problem) Error() string { return p.Code + ": " + p.Message }

// refusal is the body of every answer that is an error.
type refusal struct {
	Error     *problem `json:"error"`
	Endpoints []string `json:"endpoints,omitempty"`
}

func (p *problem) write(w http.ResponseWriter) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	writeJSON(w, p.status, refusal{p, p.exist})
}

func badRequest(code, message string) *problem {
	return &problem{Code: code, Message: message, status: http.StatusBadRequest}
}

func notFound(message string) *problem {
	return &problem{Code: "not_found", Message: message, status: http.StatusNotFound}
}

func busy(message string) *problem {
	return &problem{Code: "busy", Message: message, status: http.StatusServiceUnavailable, retryAfter: 1}
}

func unavailable(message string) *problem {
	return &problem{Code: "unavailable", Message: message, status: http.StatusServiceUnavailable, retryAfter: 1}
}

// asProblem returns what to answer for err. What is no problem is a fault of the server, whose text stays inside.
func asProblem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	return &problem{Code: "internal", Message: "a fault of the server; its log says more", status: http.StatusInternalServerError}
}

// decode reads the body, one JSON object of at most limit bytes, into v. Nothing but white space: v stays as it is, and that
// is an error unless optional.
func decode(w http.ResponseWriter, r *http.Request, limit int64, optional bool, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &problem{
			Code: "too_large", Message: "the body is over " + strconv.FormatInt(limit, 10) + " bytes; send less at once",
			status: http.StatusRequestEntityTooLarge,
		}
	case err != nil:
		return badRequest("body", "the body did not come whole")
	}
	return parseBody(body, optional, v)
}

// parseBody is decode of a body that is there.
func parseBody(body []byte, optional bool, v any) error {
	if !utf8.Valid(body) {
		return badRequest("invalid_json", "the body is not UTF-8; bytes of any kind go into data_base64")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if errors.Is(err, io.EOF) {
		if optional {
			return nil
		}
		return badRequest("invalid_json", "the body is empty; want a JSON object")
	}
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return badRequest("invalid_json", "there is more behind the JSON object")
	}
	return badRequest("invalid_json", describeJSON(err))
}

// describeJSON says what is wrong with a body, without what is in it.
func describeJSON(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return "the body is no JSON from byte " + strconv.FormatInt(syntax.Offset, 10) + " on"
	case errors.As(err, &kind) && kind.Field != "":
		return kind.Field + " is a JSON " + kind.Value + "; want a " + kind.Type.String()
	case errors.As(err, &kind):
		return "the body is a JSON " + kind.Value + "; want an object"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the JSON ends too soon"
	default: // an unknown field, or what a type of ours says: names and rules, no values
		return strings.TrimPrefix(err.Error(), "json: ")
	}
}
