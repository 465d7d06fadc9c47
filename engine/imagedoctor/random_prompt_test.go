package imagedoctor

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/reward"
)

// randomPrompt is a short prompt of anything about a random image. Some end
// within the template of an answer, so that the model goes on from there.
func randomPrompt(rng *rand.Rand, c Config, t *tokenizer.Tokenizer) *prepared {
	ids := append(t.Encode(promptHead), c.WrapImage(c.ImageTokens())...)
	for range rng.IntN(40) {
		if id := int32(rng.IntN(c.VocabSize)); id != c.ImageTokenID {
			ids = append(ids, id)
		}
	}
	ids = append(ids, t.Encode(promptTail)...)
	template := t.Encode(answerPrefix + publishedText)
	ids = append(ids, template[:rng.IntN(len(template))*rng.IntN(2)]...)
	p, err := qwenvl.LayOut(c.Config, ids, randomImage(rng, c.ImageSide()))
	if err != nil {
		panic(err) // the image stands where it must
	}
	return &prepared{Prompt: p}
}

// randomImage is a square of side pixels: noise, or areas of one colour.
func randomImage(rng *rand.Rand, side int) *reward.Image {
	pix := make([]uint8, side*side*3)
	noise := rng.IntN(3) == 0
	tile := 1 + rng.IntN(side)
	var colours [16][3]uint8
	for i := range colours {
		colours[i] = [3]uint8{uint8(rng.Uint32()), uint8(rng.Uint32()), uint8(rng.Uint32())}
	}
	for i := range side * side {
		x, y := i%side/tile, i/side/tile
		colour := colours[(5*y+x)%len(colours)]
		for c := range 3 {
			if pix[3*i+c] = colour[c]; noise {
				pix[3*i+c] = uint8(rng.Uint32())
			}
		}
	}
	return &reward.Image{Width: side, Height: side, Pix: pix}
}

// randomSample is a whole prompt as people ask them, or nearly.
func randomSample(rng *rand.Rand) reward.Sample {
	side := 64 + rng.IntN(64)
	return reward.Sample{Image: randomImage(rng, side), Prompt: randomCaption(rng)}
}

// randomCaption is a caption like those that the nano checkpoint learned from,
// one of other words, a piece of an answer, or characters of many scripts.
func randomCaption(rng *rand.Rand) string {
	pick := func(words string) string {
		list := strings.Fields(words)
		return list[rng.IntN(len(list))]
	}
	switch rng.IntN(4) {
	case 0:
		return fmt.Sprintf("a %s %s on a plain background", pick("red green blue yellow purple orange"), pick("circle square triangle"))
	case 1:
		var words []string
		for range rng.IntN(30) {
			words = append(words, pick("photo of astronaut coffee cat 12 dogs, under the blue moon! with (three) hats score: 0.95"))
		}
		return strings.Join(words, " ")
	case 2:
		from := rng.IntN(len(publishedText))
		return publishedText[from : from+rng.IntN(len(publishedText)-from)]
	}
	characters := []rune("aé猫😀  \n0١Ж.<|>")
	var text []rune
	for range rng.IntN(60) {
		text = append(text, characters[rng.IntN(len(characters))])
	}
	return string(text)
}

// anyPrompt is a whole prompt or a short one, ready for e.
func anyPrompt(t testing.TB, rng *rand.Rand, e *Evaluator) *prepared {
	t.Helper()
	if rng.IntN(2) == 0 {
		return randomPrompt(rng, e.config, e.tokenizer)
	}
	s := randomSample(rng)
	if err := e.Prepare(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	return s.Prepared.(*prepared)
}
