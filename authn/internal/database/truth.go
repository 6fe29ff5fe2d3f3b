package database

import (
	"database/sql/driver"
	"reflect"
	"strconv"
)

// isTrue reports whether a value that a driver returned is not NULL, false or zero. Some send numbers as texts, so a text of
// zero is one, too; and JSON is a text in SQLite and MySQL, so its false and null are.
func isTrue(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return !isNo(v)
	case []byte:
		return v != nil && !isNo(string(v))
	case driver.Valuer: // such as the numeric of pgx
		plain, err := v.Value()
		return err == nil && isTrue(plain)
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return !r.IsZero()
	}
	return true
}

func isNo(s string) bool {
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && f == 0 || s == "false" || s == "null"
}
