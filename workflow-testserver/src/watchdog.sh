# Waits until the process at the other end of standard input is gone, then stops the server whose files are in $1 and
# removes them. Whoever starts the server keeps the other end open; that it dies by `kill -9` makes no difference.
dir=$1
trap '' HUP INT TERM
while read -r _; do :; done

# The processes that work in the directory. Postgres' processes all do.
processes() {
    if [ -d /proc/self ]; then
        ls -l /proc/[0-9]*/cwd 2>/dev/null | sed -n "s|.*/proc/\([0-9]*\)/cwd -> $dir.*|\1|p"
    elif [ -f "$dir/data/postmaster.pid" ]; then
        head -n 1 "$dir/data/postmaster.pid"
    fi
}

# Process groups that depend on the server, a line each: written by them before they begin.
if [ -f "$dir/groups" ]; then
    while read -r group; do kill -s TERM -- "-$group" 2>/dev/null; done <"$dir/groups"
fi
# A server killed with SIGKILL leaves its shared memory segment, whose id is on line 7.
segment=$(sed -n '7s/^ *[0-9]* *\([0-9]*\).*/\1/p' "$dir/data/postmaster.pid" 2>/dev/null)
for signal in QUIT QUIT KILL; do
    tries=0
    pids=$(processes)
    [ -z "$pids" ] || kill -s $signal $pids 2>/dev/null
    while [ -n "$pids" ] && [ $tries -lt 50 ]; do
        sleep 0.1
        tries=$((tries + 1))
        pids=$(processes)
    done
done
if [ -n "$segment" ] && [ -f "$dir/data/postmaster.pid" ]; then ipcrm -m "$segment" 2>/dev/null; fi
rm -rf "$dir"
