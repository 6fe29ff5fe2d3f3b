package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// object is a JSON object.
type object = map[string]any

func document(t *testing.T) object {
	t.Helper()
	var doc object
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// at goes down into v by the keys.
func at(v any, keys ...string) any {
	for _, k := range keys {
		o, _ := v.(object)
		v = o[k]
	}
	return v
}

// resolve follows a $ref.
func resolve(doc object, v any) object {
	o, _ := v.(object)
	if ref, ok := o["$ref"].(string); ok {
		return resolve(doc, at(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...))
	}
	return o
}

// patterns are those of the schemas, compiled.
var patterns sync.Map

// valid checks v against the part of JSON Schema that openapi.json uses; a word that it does not know is an error.
func valid(doc, schema object, v any) error {
	schema = resolve(doc, schema)
	for word, rule := range schema {
		if err := validBy(doc, schema, word, rule, v); err != nil {
			return err
		}
	}
	return nil
}

func validBy(doc, schema object, word string, rule, v any) error {
	number, isNumber := v.(float64)
	text, isText := v.(string)
	list, isList := v.([]any)
	o, isObject := v.(object)
	bad := func() error { return fmt.Errorf("%v does not satisfy %s %v", v, word, rule) }
	switch word {
	case "description", "default", "additionalProperties":
	case "type":
		is := map[string]bool{
			"string": isText, "number": isNumber, "integer": isNumber && number == float64(int64(number)),
			"array": isList, "object": isObject, "boolean": v == true || v == false,
		}
		if ok, known := is[rule.(string)]; !known || !ok {
			return bad()
		}
	case "format":
		if rule == "date-time" {
			if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
				return err
			}
		}
	case "pattern":
		compiled, ok := patterns.Load(rule)
		if !ok {
			compiled, _ = patterns.LoadOrStore(rule, regexp.MustCompile(rule.(string)))
		}
		if isText && !compiled.(*regexp.Regexp).MatchString(text) {
			return bad()
		}
	case "enum":
		if !slices.Contains(rule.([]any), v) {
			return bad()
		}
	case "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum":
		n, limit := number, rule.(float64)
		if isText {
			n = float64(len(text))
		} else if isList {
			n = float64(len(list))
		}
		if strings.HasPrefix(word, "min") && n < limit || strings.HasPrefix(word, "max") && n > limit || word[0] == 'e' && n <= limit {
			return bad()
		}
	case "items":
		for i, e := range list {
			if err := valid(doc, rule.(object), e); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case "required":
		for _, name := range rule.([]any) {
			if _, ok := o[name.(string)]; isObject && !ok {
				return fmt.Errorf("%s is missing in %v", name, v)
			}
		}
	case "properties":
		for name, value := range o {
			s, known := rule.(object)[name].(object)
			if !known {
				return fmt.Errorf("%s is not described", name)
			}
			if err := valid(doc, s, value); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	default:
		return fmt.Errorf("the test does not know the word %s", word)
	}
	return nil
}

// checkAnswer holds an answer against what openapi.json says of its path and status.
func checkAnswer(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	doc := document(t)
	path := strings.TrimPrefix(r.Pattern, r.Method+" ")
	op := at(doc, "paths", path, strings.ToLower(r.Method))
	if op == nil || w.Code == http.StatusMethodNotAllowed || !strings.HasPrefix(path, "/api/") {
		return
	}
	answer := resolve(doc, at(op, "responses", fmt.Sprint(w.Code)))
	if answer == nil {
		t.Errorf("%s %s answers %d, which openapi.json does not know: %s", r.Method, path, w.Code, w.Body)
		return
	}
	schema, ok := at(answer, "content", w.Header().Get("Content-Type"), "schema").(object)
	if !ok {
		t.Errorf("%s %s answers %d with %q, which openapi.json does not know", r.Method, path, w.Code, w.Header().Get("Content-Type"))
		return
	}
	var body any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Errorf("%s %s: %v: %s", r.Method, path, err, w.Body)
	} else if err := valid(doc, schema, body); err != nil {
		t.Errorf("%s %s: %d %s: %v", r.Method, path, w.Code, w.Body, err)
	}
}

// TestOpenAPIPaths: the file has the methods and paths that there are, with their parameters, and no others.
func TestOpenAPIPaths(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	var want []string
	for pattern := range n.patterns(http.NotFoundHandler()) {
		want = append(want, strings.TrimSuffix(pattern, "{$}"))
	}
	var got []string
	ids := map[any]bool{}
	for path, item := range at(document(t), "paths").(object) {
		for method, op := range item.(object) {
			got = append(got, strings.ToUpper(method)+" "+path)
			if id := at(op, "operationId"); id == nil || ids[id] {
				t.Errorf("%s %s: the operationId %v is missing or there twice", method, path, id)
			} else {
				ids[id] = true
			}
			var params []string
			list, _ := at(op, "parameters").([]any)
			for _, p := range list {
				if at(p, "in") == "path" {
					params = append(params, "{"+at(p, "name").(string)+"}")
				}
			}
			if inPath := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1); !slices.Equal(params, inPath) {
				t.Errorf("%s has the parameters %v, want %v", path, params, inPath)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("openapi.json has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestOpenAPIExamples: each example is what its schema says, and each schema is of use.
func TestOpenAPIExamples(t *testing.T) {
	doc, checked := document(t), 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if list, ok := v.([]any); ok {
			for i, e := range list {
				walk(fmt.Sprintf("%s/%d", path, i), e)
			}
		}
		o, _ := v.(object)
		if ref, ok := o["$ref"].(string); ok && resolve(doc, o) == nil {
			t.Errorf("%s refers to %s, which is not there", path, ref)
		}
		if schema, ok := o["schema"].(object); ok {
			values := map[string]any{}
			if e, ok := o["example"]; ok {
				values["example"] = e
			}
			examples, _ := o["examples"].(object)
			for name, e := range examples {
				values[name] = at(e, "value")
			}
			for name, value := range values {
				checked++
				if err := valid(doc, schema, value); err != nil {
					t.Errorf("%s, %s: %v", path, name, err)
				}
			}
		}
		for name, e := range o {
			walk(path+"/"+name, e)
		}
	}
	walk("", doc)
	if checked < 30 {
		t.Errorf("%d examples were checked: the file is written otherwise than this test reads it", checked)
	}
	for name := range at(doc, "components", "schemas").(object) {
		if n := strings.Count(string(openAPI), `"#/components/schemas/`+name+`"`); n == 0 {
			t.Errorf("nothing refers to the schema %s", name)
		}
	}
}

// The validator can fail.
func TestValid(t *testing.T) {
	doc := document(t)
	schema := at(doc, "components", "schemas", "Missing").(object)
	good := object{"name": "n", "epoch": "dc2nog01081g81860s40", "why": "because"}
	if err := valid(doc, schema, good); err != nil {
		t.Error(err)
	}
	for name, value := range map[string]any{"name": 1.0, "epoch": "x", "more": "x"} {
		bad := maps.Clone(good)
		bad[name] = value
		if valid(doc, schema, bad) == nil {
			t.Errorf("%v is valid", bad)
		}
	}
	delete(good, "why")
	if valid(doc, schema, good) == nil {
		t.Error("a missing member is valid")
	}
}

// The examples of requests are requests that are taken.
func TestOpenAPIRequests(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	for path, item := range at(document(t), "paths").(object) {
		op := at(item, "post")
		examples, _ := at(op, "requestBody", "content", "application/json", "examples").(object)
		if op != nil && len(examples) == 0 {
			t.Errorf("POST %s has no example", path)
		}
		for name, e := range examples {
			body, err := json.Marshal(at(e, "value"))
			if err != nil {
				t.Fatal(err)
			}
			target := strings.NewReplacer("{id}", "dc2nog01081g81860s40-7", "{subject}", "42").Replace(path)
			if w := n.ask("POST", target, string(body)); w.Code != 200 && w.Code != 404 {
				t.Errorf("POST %s, %s: %d %s", path, name, w.Code, w.Body)
			}
		}
	}
	var doc object
	n.ask("GET", "/api/v1/openapi.json", "").as(200, &doc)
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", doc["openapi"])
	}
}
