#!/bin/sh
# What is left of images that nobody makes any more: gc and image rm find it, and leave alone what is being made.
. "$NESTOR_SOURCE_DIR/tests/support/cli_lib.sh"
images=$NESTOR_HOME/cache/images
command -v perl >/dev/null || {
    echo "skipped: perl is not installed"
    exit 77
}

# A server that sends the first bytes of an image and then no more.
perl -MIO::Socket::INET -e '
    my $server = IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1") or die $@;
    my @all;
    print $server->sockport, "\n";
    close STDOUT;
    while (my $client = $server->accept) {
        while (<$client>) { last if /^\r?$/ }
        print $client "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n", "\0" x 1000;
        push @all, $client;
    }' >port 2>/dev/null &
background=$!
await test -s port
url=http://127.0.0.1:$(cat port)/disk.raw

cat >box.yaml <<END
lab: box
hosts: { local: { driver: fake } }
templates: { far: { source: "$url", format: raw, sha256: $(sha256sum disk.raw | cut -d ' ' -f 1) } }
machines: { web: { template: far, memory: 64MiB } }
END

# downloads: a nestor that got the first bytes of the image and waits for more; $running is its process, $image its key.
downloads() {
    nestor_begins up box.yaml --yes
    running=$!
    await has_part
    image=$(basename "$(dirname "$(part)")" .download)
    image=${image#.}
}
part() {
    find "$images" -name .disk.part 2>/dev/null
}
has_part() {
    [ -n "$(part)" ] && [ -s "$(part)" ]
}

# cut: it is killed.
cut() {
    kill -KILL "$running"
    ended "$running"
    expect_exit 137
}

# cleaned: nothing is left of any image.
cleaned() {
    [ -z "$(ls -A "$images")" ] || fail "left: $(ls -A "$images")"
    nestor gc
    expect_exit 0
    expect_out "Nothing is left over."
}

begin "what is being downloaded is no leftover"
downloads
nestor gc
expect_exit 0
expect_out "Nothing is left over."
nestor image rm "$image"
expect_exit 1
expect_error "$image: another nestor is making this image" "wait until it has ended"
nestor gc --yes
expect_exit 0
has_part || fail "it was removed"

what="half a download is found by gc, and goes with image rm"
cut
nestor gc
expect_exit 3
expect_out "$images/.$image.download  (left of making image $image)"
nestor gc --json
expect_exit 3
expect_json ".orphans == [{kind: \"image\", path: \"$images/.$image.download\", lab_id: null, host: null, name: null, state: null}]"
nestor image rm "$image"
expect_exit 0
expect_out "$image: removed"
cleaned
nestor image rm "$image"
expect_exit 1
expect_error "$image: there is no such image"
cleaned

begin "gc removes it, and the rest of a build and a lock that were left"
downloads
cut
mkdir "$images/.other.a1B2c3" "$images/.other.old"
touch "$images/.other.a1B2c3/disk.qcow2" "$images/gone.lock" "$images/notes.txt"
nestor gc
expect_exit 3
for path in ".$image.download" .other.a1B2c3 .other.old gone.lock; do
    expect_out "  $images/$path  "
done
[ "$(wc -l <out)" = 5 ] || fail "it lists more"
nestor gc --yes
expect_exit 0
expect_err "removed $images/.$image.download"
rm "$images/notes.txt"
cleaned

begin "gc leaves whole images alone"
sed "s|\"http.*raw\", format: raw, sha256.* }|disk.raw, format: raw } }|" box.yaml >whole.yaml
nestor up whole.yaml --yes
expect_exit 0
nestor gc
expect_exit 0
nestor image verify
expect_exit 0
expect_out "whole"
