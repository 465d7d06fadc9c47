package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/denseflow/densereward/reward/relabel"
)

// Bucket is a store in a bucket of an S3-compatible service, below a prefix. A
// file appears when its upload is completed. One that fails or is given up is aborted,
// parts and all; one whose process was killed is aborted when the same file is created
// again, and until then the bucket's lifecycle rules may expire it.
type Bucket struct {
	client *minio.Client
	bucket string
	prefix string // "" or ends in a slash
}

var _ relabel.Store = (*Bucket)(nil)

// IsS3 tells whether address is one of [OpenBucket]'s.
func IsS3(address string) bool { return strings.HasPrefix(address, "s3://") }

// OpenBucket opens s3://BUCKET/PREFIX. The service and the credentials are those
// of the AWS tools: the environment variables AWS_ENDPOINT_URL_S3,
// AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN, the shared credentials file, or the machine's role.
func OpenBucket(address string, env func(string) string) (*Bucket, error) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(address, "s3://"), "/")
	if !IsS3(address) || bucket == "" {
		return nil, fmt.Errorf("%q is not s3://BUCKET/PREFIX", address)
	}
	endpoint := env("AWS_ENDPOINT_URL_S3")
	if endpoint == "" {
		endpoint = env("AWS_ENDPOINT_URL")
	}
	if endpoint == "" {
		endpoint = "https://s3.amazonaws.com"
	}
	service, err := url.Parse(endpoint)
	if err != nil || service.Host == "" || service.Scheme != "http" && service.Scheme != "https" {
		return nil, fmt.Errorf("the endpoint %q is not http://HOST or https://HOST", endpoint)
	}
	region := env("AWS_REGION")
	if region == "" {
		region = env("AWS_DEFAULT_REGION")
	}
	client, err := minio.New(service.Host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
		}),
		Secure: service.Scheme == "https",
		Region: region,
	})
	if err != nil {
		return nil, err
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return &Bucket{client: client, bucket: bucket, prefix: prefix}, nil
}

// Address is the object's s3:// address.
func (b *Bucket) Address(name string) string { return b.String() + name }

func (b *Bucket) String() string { return "s3://" + b.bucket + "/" + b.prefix }

// List visits the objects below the prefix.
func (b *Bucket) List(ctx context.Context, prefix string, visit func(name string, size int64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing when visit does
	for o := range b.client.ListObjects(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}) {
		if o.Err != nil {
			return b.explain("listing", prefix, o.Err)
		}
		if strings.HasSuffix(o.Key, "/") { // a folder as some tools make them
			continue
		}
		if err := visit(strings.TrimPrefix(o.Key, b.prefix), o.Size); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Open opens an object; its bytes are fetched as they are read.
func (b *Bucket) Open(ctx context.Context, name string) (relabel.Object, error) {
	object, err := b.client.GetObject(ctx, b.bucket, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.explain("opening", name, err)
	}
	info, err := object.Stat()
	if err != nil {
		return nil, errors.Join(b.explain("opening", name, err), object.Close())
	}
	return &remoteFile{Object: object, size: info.Size}, nil
}

type remoteFile struct {
	*minio.Object
	size int64
}

func (o *remoteFile) Size() int64 { return o.size }

// partSize of uploads: 10,000 parts make 320 GiB.
const partSize = 32 << 20

func (b *Bucket) Create(ctx context.Context, name string) (relabel.Upload, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	u := &remoteUpload{PipeWriter: w, cancel: cancel, done: make(chan error, 1)}
	go func() {
		// What a killed run left of this file. Where it may not be listed or removed, the
		// file can be written all the same.
		_ = b.client.RemoveIncompleteUpload(ctx, b.bucket, b.prefix+name)
		_, err := b.client.PutObject(ctx, b.bucket, b.prefix+name, r, -1, minio.PutObjectOptions{PartSize: partSize})
		err = b.explain("writing", name, err)
		_ = r.CloseWithError(err) // never fails
		u.done <- err
	}()
	return u, nil
}

type remoteUpload struct {
	*io.PipeWriter
	cancel context.CancelFunc
	done   chan error
}

var errAborted = errors.New("the upload was aborted")

// Commit sends what is left and completes the upload.
func (u *remoteUpload) Commit() error {
	defer u.cancel()
	_ = u.Close() // never fails
	return <-u.done
}

// Abort drops the upload and its parts.
func (u *remoteUpload) Abort() {
	_ = u.CloseWithError(errAborted) // never fails
	<-u.done
	u.cancel()
}

// Write writes an object.
func (b *Bucket) Write(ctx context.Context, name string, data []byte) error {
	_, err := b.client.PutObject(ctx, b.bucket, b.prefix+name, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{})
	return b.explain("writing", name, err)
}

// Remove deletes an object.
func (b *Bucket) Remove(ctx context.Context, name string) error {
	return b.explain("removing", name, b.client.RemoveObject(ctx, b.bucket, b.prefix+name, minio.RemoveObjectOptions{}))
}

// explain names the object, and makes what does not exist an fs.ErrNotExist.
func (b *Bucket) explain(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return fmt.Errorf("%s %s%s: %w", doing, b, name, err)
}
