package imagedoctor

import (
	"strings"
	"testing"
)

func TestCaptionsAreCleanedAsByThePublicScorer(t *testing.T) {
	answers := loadAnswers(t)
	for i, caption := range answers.Prompts {
		if got := CleanCaption(caption); got != answers.Cleaned[i] {
			t.Errorf("CleanCaption(%q) is %q, want %q", caption, got, answers.Cleaned[i])
		}
	}
}

func TestCleaningCutsEveryKindOfWhiteSpaceAndMark(t *testing.T) {
	const marks = ".,!?:;…、，。！？；："
	const spaces = "\t\n\v\f\r\x1c\x1d\x1e\x1f \u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"
	for _, r := range marks + spaces {
		if got := CleanCaption("a cat" + string(r)); got != "a cat" {
			t.Errorf("%U stays at the end: %q", r, got)
		}
	}
	for _, r := range spaces {
		if got := CleanCaption(string(r) + "a cat"); got != "a cat" {
			t.Errorf("%U stays at the start: %q", r, got)
		}
	}
	for _, caption := range []string{"a cat)", "a cat\u200b", "a cat-", `"a cat"`, ".a cat"} {
		if got := CleanCaption(caption); got != caption {
			t.Errorf("CleanCaption(%q) is %q, want no change", caption, got)
		}
	}
}

func TestCleaningALongRunOfMarksIsQuick(t *testing.T) {
	// A million marks that do not end the caption would take a backtracking
	// engine, which starts anew at each of them, hours.
	caption := strings.Repeat(".", 1<<20) + "a"
	if got := CleanCaption(caption); got != caption {
		t.Errorf("the caption has changed to %d bytes", len(got))
	}
}
