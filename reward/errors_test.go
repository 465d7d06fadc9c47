package reward_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
)

// testdata/codes.txt lists every code that was ever published with its status.
// Lines are added and never changed.
func TestCodesAreAppendOnly(t *testing.T) {
	published, err := os.ReadFile("testdata/codes.txt")
	if err != nil {
		t.Fatal(err)
	}
	var now strings.Builder
	seen := map[string]bool{}
	for _, e := range reward.Errors() {
		if seen[e.Code()] {
			t.Errorf("code %s is defined twice", e.Code())
		}
		seen[e.Code()] = true
		fmt.Fprintf(&now, "%d %s\n", e.Status(), e.Code())
	}
	if !strings.HasPrefix(now.String(), string(published)) {
		t.Errorf("codes were changed:\n%swant to begin with\n%s", now.String(), published)
	}
	if now.String() != string(published) {
		t.Error("codes were added: append them to testdata/codes.txt and to PROTOCOL.md")
	}
}

func TestEveryCodeIsInTheProtocolsPage(t *testing.T) {
	page, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range reward.Errors() {
		if line := fmt.Sprintf("| `%s` | %d |", e.Code(), e.Status()); !strings.Contains(string(page), line) {
			t.Errorf("PROTOCOL.md has no line that begins %s", line)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\d{3}) \\|").FindAllStringSubmatch(string(page), -1) {
		if e := reward.ErrorByCode(row[1], 0, ""); fmt.Sprint(e.Status()) != row[2] {
			t.Errorf("PROTOCOL.md has %s with status %s, which is no error", row[1], row[2])
		}
	}
}

func TestErrorsMatchByCode(t *testing.T) {
	e := reward.ErrInvalidValue.With("grid: %d", 3)
	if !errors.Is(fmt.Errorf("wrapped: %w", e), reward.ErrInvalidValue) || errors.Is(e, reward.ErrMissingField) {
		t.Error("matching is not by code")
	}
	if e.Error() != "invalid_value: grid: 3" || e.Status() != 400 {
		t.Errorf("got %q, %d", e.Error(), e.Status())
	}
}
