package main

import "testing"

func TestSizesAreBytesOrPowersOfTwoOrTen(t *testing.T) {
	for text, want := range map[string]byteSize{
		"0": 0, "1048576": 1 << 20, "3KiB": 3 << 10, "64MiB": 64 << 20, "4GiB": 4 << 30, "2TiB": 2 << 40,
		"8388607TiB": 8388607 << 40, "1.5GiB": 3 << 29, "4GB": 4e9, "4 GiB": 4 << 30,
	} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "GiB", "4 gigs", "4GiBs", "NaN", "1e3", "0x10", "8388608TiB", "9223372036854775808"} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

func TestDecodersAreNamedOrCalledAfterTheirFolders(t *testing.T) {
	for text, want := range map[string]decoderFlag{
		"sd3=/models/sd3/vae": {name: "sd3", dir: "/models/sd3/vae"},
		"x=a=b":               {name: "x", dir: "a=b"},
		"models/taesd3":       {name: "taesd3", dir: "models/taesd3"},
	} {
		var got decoderFlag
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "=dir", "name="} {
		var got decoderFlag
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}
