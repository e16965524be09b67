#!/bin/sh
# Installs, uses, upgrades, removes and purges a package on a copy of this machine that is thrown away: an overlay in memory.
# Run in namespaces of its own: unshare --mount --net --pid --fork --kill-child life.sh PACKAGE DIRECTORY
# Prints "== step" and what the step said; ends with status 0 if every step did.
set -eu
package=$1
directory=$2

mount --make-rprivate /
mount -t tmpfs tmpfs "$directory"
mkdir "$directory/upper" "$directory/work" "$directory/root"
root=$directory/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/upper,workdir=$directory/work" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
cp "$package" "$root/tmp/biandou.deb"
ip link set lo up

# What is asked of systemd is told and not done. It is there as soon as its directory is.
mkdir -p "$root/run/systemd/system"
for tool in systemctl deb-systemd-invoke; do
  printf '#!/bin/sh\ncase "$*" in *daemon-reload) ;; *) echo "systemd: $*" >>/tmp/asked ;; esac\n' >"$root/tmp/$tool"
  chmod 755 "$root/tmp/$tool"
  # Before those of the machine.
  cp "$root/tmp/$tool" "$root/usr/local/bin/$tool"
done
asked() { cat "$root/tmp/asked" 2>/dev/null || true; rm -f "$root/tmp/asked"; }

inside="env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot $root"
# As the units run it. No functions, so that a signal reaches the program.
service="$inside setpriv --reuid biandou --regid biandou --clear-groups --no-new-privs --bounding-set=-all"
until_it_works() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; "$@"; }

# Not there before, whatever this machine has.
$inside dpkg --purge biandou >/dev/null 2>&1 || true
asked >/dev/null

echo "== install"
$inside dpkg --install /tmp/biandou.deb
asked
$inside id biandou
$inside sh -c 'cd / && biandou --version'

echo "== linker"
$inside sh -c 'echo "127.0.0.1 8080" > /etc/biandou/disco/web; mkdir /tmp/web; echo "it works" > /tmp/web/index.html'
$inside python3 -m http.server --bind 127.0.0.1 --directory /tmp/web 8080 >/dev/null 2>&1 &
$service biandou linker /etc/biandou/linkerd.yaml 2>"$directory/linker.log" &
linker=$!
until_it_works $inside curl --silent --fail -H 'Host: web' http://127.0.0.1:4140/
$inside curl --silent -H 'Host: web' http://127.0.0.1:4140/
kill -TERM "$linker"
wait "$linker"

echo "== namerd"
$inside install -d -o biandou -g biandou /var/lib/biandou
$service env STATE_DIRECTORY=/var/lib/biandou biandou namerd /etc/biandou/namerd.yaml 2>"$directory/namerd.log" &
namerd=$!
until_it_works $inside curl --silent --fail http://127.0.0.1:4180/api/1/dtabs
echo '/svc => /#/io.l5d.fs ;' | $inside biandou dtab create default -
$inside biandou dtab get default
kill -TERM "$namerd"
wait "$namerd"
cat "$directory/namerd.log" "$directory/linker.log"

echo "== upgrade"
$inside sh -c 'echo "# mine" >> /etc/biandou/linkerd.yaml'
$inside dpkg --force-confold --install /tmp/biandou.deb
asked
$inside tail -n 1 /etc/biandou/linkerd.yaml
$inside ls /var/lib/biandou

echo "== remove"
$inside dpkg --remove biandou
asked
$inside tail -n 1 /etc/biandou/linkerd.yaml
$inside sh -c 'test ! -e /usr/lib/biandou && test ! -e /usr/bin/biandou'

echo "== again"
$inside dpkg --force-confold --install /tmp/biandou.deb
asked
$inside tail -n 1 /etc/biandou/linkerd.yaml
$inside sh -c 'mkdir /usr/lib/biandou/plugin && touch /usr/lib/biandou/plugin/__init__.py'
$inside dpkg --remove biandou

echo "== purge"
$inside dpkg --purge biandou
$inside sh -c 'test ! -e /etc/biandou && test ! -e /usr/lib/biandou && test ! -e /var/lib/biandou && ! id biandou'
