package main

import (
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
)

func TestSizesAreBytesOrPowersOfTwoOrTen(t *testing.T) {
	for text, want := range map[string]cli.ByteSize{
		"0": 0, "1048576": 1 << 20, "3KiB": 3 << 10, "64MiB": 64 << 20, "4GiB": 4 << 30, "2TiB": 2 << 40,
		"8388607TiB": 8388607 << 40, "1.5GiB": 3 << 29, "4GB": 4e9, "4 GiB": 4 << 30,
	} {
		var got cli.ByteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "GiB", "4 gigs", "4GiBs", "NaN", "1e3", "0x10", "8388608TiB", "9223372036854775808"} {
		var got cli.ByteSize
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

func TestDecodersAreNamedOrCalledAfterTheirFolders(t *testing.T) {
	for text, want := range map[string]hosting.Decoder{
		"sd3=/models/sd3/vae": {Name: "sd3", Dir: "/models/sd3/vae"},
		"x=a=b":               {Name: "x", Dir: "a=b"},
		"models/taesd3":       {Name: "taesd3", Dir: "models/taesd3"},
	} {
		var got hosting.Decoder
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "=dir", "name="} {
		var got hosting.Decoder
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}
