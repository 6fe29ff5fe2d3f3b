package database

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A file that is put in the place of another is read after sqliteLifetime, and one that is gone is missed, while questions
// come all the time.
func TestSQLiteFileIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "db.sqlite3"), filepath.Join(dir, "restored.sqlite3")
	for file, key := range map[string]string{path: "before", other: "after"} {
		db, err := sql.Open("sqlite", "file:"+file)
		if err == nil {
			_, err = db.ExecContext(t.Context(), "CREATE TABLE tokens (key text); INSERT INTO tokens VALUES ('"+key+"')")
		}
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	synctest.Test(t, func(t *testing.T) {
		db, err := Open(t.Context(), Config{DSN: "sqlite:" + path})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		q := db.Query("SELECT key FROM tokens")
		ask := func() (key string, err error) {
			for range 10 * sqliteLifetime / time.Second {
				time.Sleep(100 * time.Millisecond)
				_, _ = q.First(t.Context(), nil, &key)
			}
			time.Sleep(100 * time.Millisecond)
			_, err = q.First(t.Context(), nil, &key)
			return key, err
		}
		if key, err := ask(); err != nil || key != "before" {
			t.Errorf("got %q, %v", key, err)
		}
		if err := os.Rename(other, path); err != nil {
			t.Fatal(err)
		}
		if key, err := ask(); err != nil || key != "after" {
			t.Errorf("behind a restored file: got %q, %v", key, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if key, err := ask(); err == nil {
			t.Errorf("without a file: got %q", key)
		}
	})
}
