package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// headers that the hub's answers have.
const (
	headerCommit     = "X-Repo-Commit"
	headerLinkedETag = "X-Linked-Etag"
	headerLinkedSize = "X-Linked-Size"
	headerErrorCode  = "X-Error-Code"
	headerError      = "X-Error-Message"
)

// ask asks the hub what the revision is and what it holds.
func (r repository) ask(ctx context.Context) (commit string, files []File, err error) {
	var answer struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name   string `json:"rfilename"`
			Size   *int64 `json:"size"`
			BlobID string `json:"blobId"`
			LFS    *struct {
				SHA256 string `json:"sha256"`
				Size   int64  `json:"size"`
			} `json:"lfs"`
			XetHash string `json:"xetHash"`
		} `json:"siblings"`
	}
	address := fmt.Sprintf("%s/api/models/%s/revision/%s?blobs=true", r.Endpoint, r.ID, url.PathEscape(r.Revision))
	err = r.retry(ctx, func() error {
		response, err := r.do(ctx, r.Client, http.MethodGet, address, -1)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		body := io.LimitReader(response.Body, maxListingBytes)
		if err := json.NewDecoder(body).Decode(&answer); err != nil {
			return fmt.Errorf("%w: %s answers no listing of a model: %w", ErrUnreachable, r.Endpoint, err)
		}
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	if !commitPattern.MatchString(answer.SHA) {
		return "", nil, fmt.Errorf("%w: %s does not say which commit %s is", ErrUnreachable, r.Endpoint, r.Revision)
	}
	for _, s := range answer.Siblings {
		f := File{Name: s.Name, Size: -1, Digest: s.BlobID, gitDigest: s.BlobID, xet: s.XetHash}
		if s.Size != nil {
			f.Size = *s.Size
		}
		if s.LFS != nil {
			f.Digest, f.Size, f.large = s.LFS.SHA256, s.LFS.Size, true
		}
		if err := f.check(); err != nil {
			return "", nil, fmt.Errorf("%s lists %w", r.Endpoint, err)
		}
		files = append(files, f)
	}
	return answer.SHA, files, nil
}

var digestPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// check refuses names that lead out of the cache.
func (f File) check() error {
	if !isLocal(f.Name) {
		return fmt.Errorf("a file %.80q, whose name leads out of the repository", f.Name)
	}
	if f.Digest != "" && !digestPattern.MatchString(f.Digest) {
		return fmt.Errorf("a file %.80q with the digest %.80q", f.Name, f.Digest)
	}
	return nil
}

// head asks for what a listing does not say of a file, as those of some mirrors do not.
func (r repository) head(ctx context.Context, commit string, f File) (File, error) {
	client := *r.Client
	// The hub's own answer has the headers, not that of where it sends us.
	client.CheckRedirect = func(to *http.Request, via []*http.Request) error {
		if to.URL.Host != via[0].URL.Host {
			return http.ErrUseLastResponse
		}
		return nil
	}
	err := r.retry(ctx, func() error {
		response, err := r.do(ctx, &client, http.MethodHead, r.address(commit, f.Name), -1)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if f.Digest == "" {
			tag := response.Header.Get(headerLinkedETag)
			if tag == "" {
				tag = response.Header.Get("ETag")
			}
			f.Digest = strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
		}
		if f.Size < 0 && response.StatusCode == http.StatusOK {
			f.Size = response.ContentLength
		}
		if size, err := strconv.ParseInt(response.Header.Get(headerLinkedSize), 10, 64); err == nil && size >= 0 {
			f.Size = size
		}
		return nil
	})
	if err == nil && f.Digest == "" {
		err = fmt.Errorf("%w: %s gives no ETag of %s", ErrUnreachable, r.Endpoint, f.Name)
	}
	return f, errors.Join(err, f.check())
}

// address is where a file's content is.
func (r repository) address(commit, name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return fmt.Sprintf("%s/%s/resolve/%s/%s", r.Endpoint, r.ID, commit, strings.Join(parts, "/"))
}

// do sends a request, for the content from a byte on where that is not negative. An
// answer that is no success is an error.
func (r repository) do(ctx context.Context, client *http.Client, method, address string, from int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "densereward")
	request.Header.Set("Accept-Encoding", "identity") // sizes are those of the content
	if r.Token != "" {
		// net/http leaves it out where another host is answered from.
		request.Header.Set("Authorization", "Bearer "+r.Token)
	}
	if from > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	response, err := client.Do(request)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, r.Endpoint, err)
	}
	if response.StatusCode < 400 || response.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	return nil, r.refused(response)
}

// refused says what an answer that is no success means.
func (r repository) refused(response *http.Response) error {
	code, said := response.Header.Get(headerErrorCode), response.Header.Get(headerError)
	if said == "" {
		said = response.Status
	}
	missing := fmt.Errorf("%w: %s has no model %s, or it is private and %s", ErrNotFound, r.Endpoint, r.ID, r.tokenAdvice())
	switch status := response.StatusCode; {
	case code == "GatedRepo":
		return fmt.Errorf("%w: the model is gated; accept its terms at %s/%s, and %s (%s)", ErrDenied, r.Endpoint, r.ID, r.tokenAdvice(), said)
	case code == "RevisionNotFound":
		return fmt.Errorf("%w: %s has no revision %s", ErrNotFound, r.ID, r.Revision)
	case code == "EntryNotFound":
		return fmt.Errorf("%w: %s", ErrNotFound, said)
	case code == "RepoNotFound":
		return missing
	case status == http.StatusUnauthorized && r.Token != "":
		return fmt.Errorf("%w: %s does not take the token of HF_TOKEN or of the token file (%s)", ErrDenied, r.Endpoint, said)
	case status == http.StatusUnauthorized || status == http.StatusNotFound:
		return missing
	case status == http.StatusForbidden:
		return fmt.Errorf("%w: %s (%s)", ErrDenied, said, r.tokenAdvice())
	case status == http.StatusTooManyRequests || status >= 500:
		return &overloaded{fmt.Errorf("%w: %s answers %s", ErrUnreachable, r.Endpoint, said), response.Header.Get("Retry-After")}
	}
	return fmt.Errorf("%w: %s answers %s", ErrUnreachable, r.Endpoint, said)
}

func (r repository) tokenAdvice() string {
	if r.Token == "" {
		return "HF_TOKEN must hold a token that may read it"
	}
	return "the token of HF_TOKEN or of the token file must be one that may read it"
}

// overloaded is an answer that another attempt may better.
type overloaded struct {
	error
	after string // Retry-After
}

func (o *overloaded) Unwrap() error { return o.error }
