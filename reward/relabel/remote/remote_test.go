package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/local"
	"github.com/denseflow/densereward/reward/relabel/remote"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
)

func record(seed uint64, width, height int) *relabel.Record {
	file := rewardtest.PNG(rewardtest.Image(seed, width, height))
	return &relabel.Record{Name: fmt.Sprint(seed), Prompt: fmt.Sprintf("prompt %d", seed), Load: func() ([]byte, error) { return file, nil }}
}

func newEvaluator(t *testing.T, fake *rewardtest.Fake, labels relabel.Labels, opts ...client.Option) *remote.Evaluator {
	t.Helper()
	web := httptest.NewServer(newServer(t, fake))
	t.Cleanup(web.Close)
	c, err := client.New(web.URL, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return remote.New(remote.Options{Client: c, Labels: labels})
}

func labelsOf(fake *rewardtest.Fake) relabel.Labels {
	about := fake.Describe()
	labels := local.LabelsOf(&about, []string{relabel.ColumnDense, "heatmaps"})
	labels.MapType = relabel.Uint8
	return labels
}

func TestServersLabelAsThisProcessDoes(t *testing.T) {
	fake := &rewardtest.Fake{Fail: func(s reward.Sample) error {
		if s.Prompt == "prompt 2" {
			return reward.ErrEvaluatorFailed.With("not this one")
		}
		return nil
	}}
	broken := record(9, 64, 64)
	broken.Load = func() ([]byte, error) { return []byte("no image"), nil }
	unnamed := &relabel.Record{Err: reward.ErrMissingField.With("no prompt")}
	here, err := local.New(local.Options{Evaluators: []reward.Evaluator{fake}, Files: new(image.Decoder), Labels: labelsOf(fake)})
	if err != nil {
		t.Fatal(err)
	}
	for name, chunk := range map[string][]*relabel.Record{
		"one size":      {record(1, 64, 64), record(2, 64, 64), broken, unnamed, record(3, 64, 64)},
		"several sizes": {record(1, 64, 64), record(4, 128, 64)},
		"nothing":       {unnamed},
	} {
		want, err := here.Evaluate(context.Background(), chunk)
		if err != nil {
			t.Fatal(err)
		}
		got, err := newEvaluator(t, fake, labelsOf(fake)).Evaluate(context.Background(), chunk)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i].ErrorMessage, got[i].ErrorMessage = "", "" // the server names the field
			want[i].Missing, got[i].Missing = append([]string{}, want[i].Missing...), append([]string{}, got[i].Missing...)
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("%s: record %d: %+v, want %+v", name, i, got[i], want[i])
			}
		}
	}
}

func TestALostServerEndsTheRun(t *testing.T) {
	fake := &rewardtest.Fake{}
	web := httptest.NewServer(newServer(t, fake))
	c, err := client.New(web.URL, client.WithTries(1))
	if err != nil {
		t.Fatal(err)
	}
	web.Close()
	e := remote.New(remote.Options{Client: c, Labels: labelsOf(fake)})
	if _, err := e.Evaluate(context.Background(), []*relabel.Record{record(1, 8, 8)}); err == nil {
		t.Error("no error")
	}
}

func TestAServerOfAnotherEvaluatorEndsTheRun(t *testing.T) {
	labels := labelsOf(&rewardtest.Fake{})
	labels.Scores = append(labels.Scores, "charm")
	_, err := newEvaluator(t, &rewardtest.Fake{}, labels).Evaluate(context.Background(), []*relabel.Record{record(1, 64, 64)})
	if err == nil || errors.As(err, new(*reward.Error)) {
		t.Errorf("error %v", err)
	}
}

func newServer(t *testing.T, fake *rewardtest.Fake) http.Handler {
	t.Helper()
	return servertest.New(t, server.Config{}, fake)
}

func TestMetadataReachTheServer(t *testing.T) {
	fake := &rewardtest.Fake{Fail: func(s reward.Sample) error {
		if s.Metadata["text"] != "said of "+s.Prompt {
			return reward.ErrEvaluatorFailed.With("metadata %v", s.Metadata)
		}
		return nil
	}}
	for _, width := range []int{64, 128} { // in one request, and in one each
		one, other, none := record(1, 64, 64), record(2, width, 64), record(3, 64, 64)
		one.Keep("text", "said of prompt 1")
		other.Keep("text", "said of prompt 2")
		labels, err := newEvaluator(t, fake, labelsOf(fake)).Evaluate(context.Background(), []*relabel.Record{one, other, none})
		if err != nil || labels[0].Failed() || labels[1].Failed() || !labels[2].Failed() {
			t.Errorf("%+v, %v", labels, err)
		}
	}
}
