# Runs in the container: what the limits look like from inside, on cgroup v1 and v2.
cd /sys/fs/cgroup
if [ -e memory ]; then
    echo "memory: $(cat memory/memory.limit_in_bytes) bytes"
    echo "cpu: $(cat cpu/cpu.cfs_quota_us) of $(cat cpu/cpu.cfs_period_us) microseconds"
    echo "pids: $(cat pids/pids.max)"
else
    echo "memory: $(cat memory.max) bytes"
    set -- $(cat cpu.max)
    echo "cpu: $1 of $2 microseconds"
    echo "pids: $(cat pids.max)"
fi

# The ninth process does not come into being.
for number in 1 2 3 4 5 6 7 8; do sleep 60 & done
