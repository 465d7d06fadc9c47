package tokenizer

import (
	"strings"
	"testing"
)

// prompt is English of 344 tokens, the length of an evaluator's prompt.
const prompt = `Given a caption and an image generated based on this caption, please analyze the provided image in detail. Evaluate it on various dimensions including Semantic Alignment (How well the image content corresponds to the caption), Aesthetics (composition, color usage, and overall artistic quality), Plausibility (realism and attention to detail), and Overall Impression (General subjective assessment of the image's quality). For each evaluation dimension, provide a score between 0-1 and provide a concise rationale for the score. Use a chain-of-thought process to detail your reasoning steps, and enclose all potential important areas and detailed reasoning within <think> and </think> tags. The important areas are represented in following format: ” I need to focus on the bounding box area. Proposed regions (xyxy): ..., which is an enumerated list in the exact format:1.[x1,y1,x2,y2];
2.[x1,y1,x2,y2];
3.[x1,y1,x2,y2]… Here, x1,y1 is the top-left corner, and x2,y2 is the bottom-right corner. Then, within the <answer> and </answer> tags, summarize your assessment in the following format: "Semantic Alignment score: ... 
Misalignment Locations: ...
Aesthetic score: ...
Plausibility score: ...
Artifact Locations: ...
Overall Impression score: ...". No additional text is allowed in the answer section.

 Your actual evaluation should be based on the quality of the provided image.**

Your task is provided as follows:
Text Caption: [a red bicycle leaning against a whitewashed wall, a cat asleep on its saddle in the afternoon sun, film]<|im_end|>
`

func BenchmarkEncodePrompt(b *testing.B) {
	tok := qwen(b)
	if n := len(tok.Encode(prompt)); n != 344 {
		b.Fatalf("the prompt has %d tokens, not 344", n)
	}
	b.SetBytes(int64(len(prompt)))
	b.ReportAllocs()
	for b.Loop() {
		tok.Encode(prompt)
	}
}

func BenchmarkEncodeRunOf100KB(b *testing.B) {
	tok := qwen(b)
	for name, unit := range map[string]string{
		"letter": "a", "space": " ", "newline": "\n", "mark": "\u0301", "bracket": "<", "chinese": "猫", "byte": "\xff",
	} {
		text := strings.Repeat(unit, 100_000/len(unit))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				tok.Encode(text)
			}
		})
	}
}

func BenchmarkDecodeAnswer(b *testing.B) {
	tok := qwen(b)
	ids := tok.Encode("<think>\n...</think>\n<answer>Semantic Alignment score: 0.85\nMisalignment Locations: <|misalignment|>\n" +
		"Aesthetic score: 0.7\nPlausibility score: 0.66\nArtifact Locations: <|artifact|>\nOverall Impression score: 0.72</answer>")
	b.ReportAllocs()
	for b.Loop() {
		tok.Decode(ids, true)
	}
}

func BenchmarkParse(b *testing.B) {
	data := qwenJSON(b)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
