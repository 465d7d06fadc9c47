package credentials

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

const (
	maxTokenFile = 1 << 20
	minToken     = 16 // characters; shorter ones can be guessed
)

// Tokens are the bearer tokens that a server takes, from a file: one a line,
// with the name of its owner before it if logs should tell owners apart. Empty
// lines and lines that begin with # are skipped. After a name and a token, rights may
// stand with commas between them: score, metrics, admin. A token has all of them where
// none stands.
//
//	# trainers
//	alice       4f0c1d6a9b2e8f7733d1  score
//	prometheus  77aa04d1c3e95b62f810  metrics
//	9a6be2c04d5f18e3c7a1
type Tokens struct {
	path   string
	owners atomic.Pointer[[]owner]
}

// owner is a name and the SHA-256 of its token. Digests are compared rather
// than tokens: they are all of one length, and the comparison shows nothing
// of the token.
type owner struct {
	name   string
	rights Rights
	digest [sha256.Size]byte
}

// OpenTokens reads the file. A file without a token is an error: it would let
// nobody in.
func OpenTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Reload reads the file again. After an error the tokens are what they were.
func (t *Tokens) Reload() error {
	data, err := readFile(t.path, maxTokenFile)
	if err != nil {
		return fmt.Errorf("credentials: token file: %w", err)
	}
	owners, err := parseTokens(data)
	if err != nil {
		return fmt.Errorf("credentials: token file %s: %w", t.path, err)
	}
	t.owners.Store(&owners)
	return nil
}

// parseTokens reads the lines of a token file. Errors name the line, never the
// token.
func parseTokens(data []byte) ([]owner, error) {
	var owners []owner
	line := 0
	for text := range bytes.Lines(data) {
		line++
		fields := strings.Fields(string(text))
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) > 3 {
			return nil, fmt.Errorf("line %d: want a token, or a name and a token, and rights after these", line)
		}
		rights, err := parseRights(fields[min(2, len(fields)):])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		token := fields[min(1, len(fields)-1)]
		if len(token) < minToken || !visible(token) {
			return nil, fmt.Errorf("line %d: want a token of at least %d visible ASCII characters", line, minToken)
		}
		o := owner{name: fmt.Sprintf("line %d", line), rights: rights, digest: sha256.Sum256([]byte(token))}
		if len(fields) >= 2 {
			o.name = fields[0]
		}
		owners = append(owners, o)
	}
	if len(owners) == 0 {
		return nil, errors.New("no token")
	}
	return owners, nil
}

// Owner finds whose token it is, and what it lets do. It takes the same time for all tokens of a
// length, right or wrong.
func (t *Tokens) Owner(token string) (name string, rights Rights, ok bool) {
	digest := sha256.Sum256([]byte(token))
	for _, o := range *t.owners.Load() {
		if subtle.ConstantTimeCompare(digest[:], o.digest[:]) == 1 {
			name, rights, ok = o.name, o.rights, true
		}
	}
	return name, rights, ok
}

// visible reports whether text is of visible ASCII alone.
func visible(text string) bool {
	for _, b := range []byte(text) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}
