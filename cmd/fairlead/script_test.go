package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command line as people do: testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		RequireUniqueNames: true,
		Setup:              func(e *testscript.Env) error { return writeKeys(e.WorkDir) },
	})
}

// writeKeys writes two fresh key pairs, private.pem with public.pem, and other.pem.
func writeKeys(dir string) error {
	for private, public := range map[string]string{"private.pem": "public.pem", "other.pem": "other-public.pem"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, private), "PRIVATE KEY", der); err != nil {
			return err
		}
		if der, err = x509.MarshalPKIXPublicKey(&key.PublicKey); err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, public), "PUBLIC KEY", der); err != nil {
			return err
		}
	}
	return nil
}

func writePEM(name, kind string, der []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
