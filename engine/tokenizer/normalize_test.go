package tokenizer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// testdata/nfc.json.gz holds strings with runs of up to 100 combining characters
// and what unicodedata.normalize of Python 3.11 makes of them.
func TestNormalFormIsUnicodesEvenInLongRuns(t *testing.T) {
	var cases []struct{ Text, NFC string }
	loadCompressed(t, "testdata/nfc.json.gz", &cases)
	if len(cases) < 200 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		if got := NFC(c.Text); got != c.NFC {
			t.Errorf("%+q:\n got %+q\nwant %+q", c.Text, got, c.NFC)
		}
	}
}

func TestNormalFormOfShortRunsIsTheLibrarys(t *testing.T) {
	for _, text := range []string{"", "plain", "cafe\u0301", "\u1100\u1161\u11a8", "ﬁ①Å", "a\u0323\u0307\u0301z", "\u0301"} {
		if got, want := NFC(text), norm.NFC.String(text); got != want {
			t.Errorf("%+q becomes %+q, want %+q", text, got, want)
		}
	}
}

// Every character is repeated as often as x/text would break the run. What it makes
// of one is what UAX 15 says of each but for those that compose with themselves.
func TestNoCharacterIsBrokenUpInLongRuns(t *testing.T) {
	const times = 40
	for r := rune(0); r <= 0x1ffff; r++ {
		if !utf8.ValidRune(r) || r >= 0x3400 && r < 0xa000 { // Han is as any other
			continue
		}
		run := strings.Repeat(string(r), times)
		if norm.NFC.IsNormalString(run) {
			continue // is unchanged
		}
		var want strings.Builder
		writeComposed(&want, run)
		if got := NFC(run); got != want.String() || strings.Count(got, "\u034f") != strings.Count(run, "\u034f") {
			t.Errorf("%+q %d times becomes %+q", r, times, got)
		}
	}
}

// Python's unicodedata leaves these as they are.
func TestKoreanVowelsStayAsTheyAre(t *testing.T) {
	for _, vowel := range []string{"\u3160", "\u3161"} {
		for _, n := range []int{30, 31, 32, 300} {
			text := "a" + strings.Repeat(vowel, n) + "b\u1100\u1161"
			if got, want := NFC(text), "a"+strings.Repeat(vowel, n)+"b\uac00"; got != want {
				t.Errorf("%d of %+q: %+q", n, vowel, got)
			}
		}
	}
}

func FuzzNormalForm(f *testing.F) {
	f.Add("cafe\u0301", "\u0301", uint8(3))
	f.Add("a", "\u0301\u0323", uint8(40))
	f.Add("\u1100", "\u1161", uint8(12))
	f.Fuzz(func(t *testing.T, text, marks string, n uint8) {
		text = validUTF8(text + strings.Repeat(marks, int(n)) + text)
		got := NFC(text)
		if !utf8.ValidString(got) {
			t.Fatalf("%+q is not UTF-8", got)
		}
		if again := NFC(got); again != got {
			t.Fatalf("the normal form %+q of %+q is not normal: %+q", got, text, again)
		}
		if a, b := decompositionOf(text), decompositionOf(got); a != b {
			t.Fatalf("%+q and its normal form %+q are not equivalent: %+q, %+q", text, got, a, b)
		}
	})
}

// decompositionOf is text in normalization form D, which equivalent texts share.
func decompositionOf(text string) string {
	var b strings.Builder
	for _, c := range decompose(text) {
		b.WriteRune(c.r)
	}
	return b.String()
}
