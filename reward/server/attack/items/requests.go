//go:build unix

package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// file is a PNG file of one colour.
func file(side int, level uint8) []byte {
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			m.SetRGBA(x, y, color.RGBA{level, level / 2, 255 - level, 255})
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
}

// request asks for n samples of one image; change may be nil.
func request(prompt string, n, side int, change func(*wire.Request)) []byte {
	q := &wire.Request{Return: []wire.Return{}}
	one := file(side, 100)
	for range n {
		q.Prompts = append(q.Prompts, prompt)
		q.Images = append(q.Images, wire.Image{Encoded: one})
	}
	if change != nil {
		change(q)
	}
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		panic(err) // the attack is wrong, not what it attacks
	}
	return m.Bytes()
}

// numbered gives the samples prompts that differ.
func numbered(q *wire.Request) {
	for i := range q.Prompts {
		q.Prompts[i] += fmt.Sprint(" ", i)
	}
}

// across has the samples meet those of another request.
func across(step string, size int, names, members []int) func(*wire.Request) {
	return func(q *wire.Request) {
		q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
		q.Groups = reward.Groups{Step: step, Size: size, Members: members}
		for _, name := range names {
			q.Groups.Names = append(q.Groups.Names, fmt.Sprint(name))
		}
	}
}

// words is a prompt of about n tokens.
func words(n int) string { return strings.TrimSpace(strings.Repeat("a b ", n/2)) }
