package offline

import (
	"strings"
	"testing"
)

func TestFileNamesAreDistinctAndFit(t *testing.T) {
	long := strings.Repeat("ü", 80)
	seen := map[string]string{}
	for _, text := range []string{"plain.png", "a/b.png", "a:b.png", "a\nb.png", "..", ".hidden", long + "1.png", long + "2.png", ""} {
		name := fileName(text)
		if strings.ContainsAny(name, `/\:`+"\n") || len(name) > 240 || name == ".." || name == "" && text != "" || strings.HasPrefix(name, ".") {
			t.Errorf("%q becomes %q", text, name)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("%q and %q both become %q", text, other, name)
		}
		seen[name] = text
	}
	if fileName("plain.png") != "plain.png" {
		t.Error("a fit name is changed")
	}
}
