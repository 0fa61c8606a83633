"""The same command lines with docker and with minidocker: what is printed, on which stream, and the exit status.

A row is a script (docker_pair.py says what it finds), and what differs on purpose: (a pattern of docker's output, what MiniDocker has there, why).  What differs
without a reason is a fault of MiniDocker's.  docs/minidocker/for-docker-users.md says the same to users.
"""

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox", "runc", "engines")

LOOP = "sh -c 'trap \"exit 5\" TERM; echo ready; while :; do sleep 0.05; done'"

ROWS = {
    # --- run: how it ends
    "run-status-0": "t run --rm bb true",
    "run-status-own": "t run --rm bb sh -c 'echo out; echo err >&2; exit 7'",
    "run-status-missing": "t run --rm bb nosuch",
    "run-status-missing-path": "t run --rm bb /no/such",
    "run-status-folder": "t run --rm bb /etc",
    "run-status-not-executable": "t run --rm bb /etc/passwd",
    "run-status-signal": "t run --rm bb sh -c 'sleep 9 & kill -9 $!; wait $!'",
    "run-status-killed": "run -d --name $N bb sleep 100; f start nosuch$N; d kill $N; t wait $N",
    "run-flag-unknown": "t run --nosuch bb true",
    "run-no-image": "f run",
    "run-image-bad-name": "t run --network none BAD true",
    "run-cmd-of-image": "echo 'echo said' | run -i --rm bb",
    "run-stdin": "echo typed | run -i --rm bb cat",
    "run-stdin-closed": "echo typed | run --rm bb cat; echo $?",
    "run-stdin-big": "head -c 300000 /dev/zero | run -i --rm bb wc -c",
    "run-tty": "run -t --rm bb sh -c 'test -t 0 && test -t 1 && echo terminal; echo $TERM; echo err >&2'",
    "run-it-no-terminal": "f run -it --rm bb true",
    "run-detached": "t run -d --name $N bb sleep 100; d ps --format '{{.Names}} {{.Image}} {{.Command}} {{.State}}'",
    "run-detached-rm": "t run -d --rm --name $N bb sleep 100; d kill $N; d wait $N >/dev/null 2>&1; sleep 0.5; d ps -aq",
    "run-detached-missing": "t run -d --name $N bb nosuch; d ps -a --format '{{.Names}} {{.State}} {{.Status}}'",
    "run-name-taken": "run -d --name $N bb true; t run --name $N bb true",
    "run-name-bad": "t run --name '-x y' bb true; t create --name '' bb true",
    "run-attach-stderr": "t run --rm -a stderr bb sh -c 'echo out; echo err >&2'",
    "run-attach-bad": "t run --rm -a bad bb true",
    "run-attach-detach": "f run -d -a stdout bb true",
    "run-rm-restart": "t run --rm --restart always bb true",
    "run-entrypoint": "run --rm --entrypoint echo bb a b; run --rm --entrypoint '' bb echo c",
    "run-env": "X=1 run --rm -e A=b -e C= -e 'D=e f' -e NOT bb sh -c 'echo $A,$C,$D,${NOT-unset},$HOME,$HOSTNAME,$PATH' | sed 's/ID12/X/'",
    "run-env-order": "run --rm -e A=1 -e B=2 --hostname h bb env",
    "run-env-file": "printf '# no\\nA=b\\n\\nHOSTVAR\\n C=d\\n' >env; HOSTVAR=h; export HOSTVAR; run --rm --env-file env bb sh -c 'echo $A,$C,$HOSTVAR'; t run --rm --env-file nosuch bb true",
    "run-env-bad": "t run --rm -e =x bb true; t run --rm -e '' bb env",
    "run-workdir": "run --rm -w /new/place bb pwd; t run --rm -w relative bb pwd; t run --rm -w /etc/passwd bb pwd",
    "run-user": "for u in app 1000 1000:2000 app:extra 4321 0:app; do run --rm -u $u bb sh -c 'id; echo $HOME'; done",
    "run-user-missing": "t run --rm -u nosuch bb id; t run --rm -u 0:nosuch bb id",
    "run-group-add": "run --rm -u app --group-add 77 --group-add extra bb id; t run --rm --group-add nosuch bb id",
    "run-hostname": "run --rm --hostname h --domainname d bb sh -c 'hostname; cat /etc/hostname; cat /proc/sys/kernel/domainname'; t run --rm --hostname -bad- bb true",
    "run-hosts": "run --rm --hostname h --add-host a:1.2.3.4 bb cat /etc/hosts /etc/hostname",
    "run-label": "printf 'x=1\\ny\\n' >labels; create --name $N -l a=b -l c --label-file labels bb true; d inspect -f '{{json .Config.Labels}}' $N",
    "run-read-only": "run --rm --read-only --tmpfs /t bb sh -c 'touch /x; touch /t/x && echo ok; touch /etc/hosts && echo hosts; touch /dev/shm/x && echo shm'",
    "run-tmpfs": "run --rm --tmpfs /t:size=1m,mode=1770 --tmpfs /u bb sh -c \"grep -E ' /[tu] ' /proc/mounts | sort; stat -c %a /t /u\"",
    "run-volume": "mkdir v; echo 1 >v/f; run --rm -v $PWD/v:/v -v $PWD/made:/m -v $PWD/v:/r:ro bb sh -c 'cat /v/f; echo 2 >/v/g; echo 3 >/r/h'; ls v; ls -d made",
    "run-volume-bad": "t run --rm -v $PWD/v:rel bb true; t run --rm -v $PWD/v:/ bb true; t run --rm -v $PWD/v:/v:bad bb true; t run --rm -v a:b:c:d bb true",
    "run-mount": "mkdir v; run --rm --mount type=bind,src=$PWD/v,dst=/v,readonly --mount type=tmpfs,dst=/t,tmpfs-size=4096 bb sh -c \"touch /v/x; grep ' /t ' /proc/mounts\"",
    "run-mount-bad": "t run --rm --mount type=bind,src=$PWD/no,dst=/v bb true; t run --rm --mount type=bad,dst=/v bb true; t run --rm --mount type=bind,src=/etc bb true; t run --rm --mount type=bind,src=/etc,dst=/v,x=y bb true",
    "run-mount-twice": "t run --rm --tmpfs /v -v /etc:/v bb true",
    "run-ulimit": "run --rm --ulimit nofile=200:200 --ulimit sigpending=100:200 --ulimit core=0 bb sh -c 'ulimit -n; ulimit -i; ulimit -Hi; ulimit -c'; t run --rm --ulimit nofile=200:100 bb true; t run --rm --ulimit bad=1 bb true",
    "run-caps": "run --rm --cap-drop ALL --cap-add chown bb grep Cap /proc/self/status; run --rm -u app bb grep Cap /proc/self/status; run --rm --cap-add CAP_NET_ADMIN bb grep CapEff /proc/self/status; t run --rm --cap-add BAD bb true",
    "run-no-new-privileges": "run --rm --security-opt no-new-privileges bb grep NoNew /proc/self/status; t run --rm --security-opt bad=x bb true",
    "run-seccomp": "run --rm bb grep Seccomp: /proc/self/status; run --rm --security-opt seccomp=unconfined bb grep Seccomp: /proc/self/status; t run --rm --security-opt seccomp=nosuch bb true",
    "run-sysctl": "run --rm --sysctl net.ipv4.ip_forward=1 bb cat /proc/sys/net/ipv4/ip_forward; t run --rm --sysctl kernel.bad bb true; t run --rm --sysctl kernel.panic=1 bb true",
    "run-shm-size": "run --rm --shm-size 3m bb sh -c 'df -k /dev/shm | tail -1 | tr -s \" \" | cut -d\" \" -f2'; t run --rm --shm-size bad bb true",
    "run-init": "run --rm --init bb sh -c \"cat /proc/1/cmdline | tr '\\\\0' ' '\"",
    "run-pid-host": "run --rm --pid host bb sh -c 'test $$ != 1 && echo host'; t run --rm --pid bad bb true; t run --rm --pid container:nosuch bb true",
    "run-ipc": "t run --rm --ipc bad bb true; t run --rm --uts bad bb true; t run --rm --userns bad bb true",
    "run-cidfile": "run --rm --cidfile c bb true; wc -c <c; t run --rm --cidfile c bb true; t run --rm --cidfile no/c bb true",
    "run-limits-refused": "t run --rm -m 1m bb true; t run --rm -m 64m --memory-swap 32m bb true; t run --rm --cpus 999 bb true; t run --rm --cpus bad bb true; t run --rm --cpuset-cpus 99 bb true; t run --rm --oom-score-adj 2000 bb true; t run --rm -m bad bb true; t run --rm --pids-limit bad bb true",
    "run-limits": "run -d --name $N -m 64m --memory-reservation 32m --cpus 0.5 --pids-limit 50 --cpu-shares 512 bb sleep 100; d inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.MemoryReservation}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.CpuShares}}' $N; d exec $N sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max'",
    "run-device": "run --rm --device /dev/null:/dev/mine:r bb ls -l /dev/mine | cut -c1-10; t run --rm --device /dev/nosuch bb true; t run --rm --device bad bb true",
    "run-stop-signal": "run -d --name $N --stop-signal USR1 bb sh -c 'trap \"exit 9\" USR1; echo ready; while :; do sleep 0.05; done'; until_has $N ready; d stop $N; d wait $N; t run --rm --stop-signal BAD bb true",
    "run-portrait": "run --rm --hostname h bb portrait",
    "run-portrait-user": "run --rm --hostname h -u app --read-only bb portrait",
    "run-dev": "run --rm bb sh -c 'ls -l /dev | awk \"{print \\$1, \\$3, \\$4, \\$5, \\$6, \\$10, \\$11, \\$12}\"'; run --rm bb ls -A /",
    "run-pull-never": "t run --rm --pull never nosuch true; t run --pull bad bb true",
    "run-log-driver-none": "run -d --name $N --log-driver none bb echo hi; d wait $N; f logs $N; t run --rm --log-driver bad bb true; t run --rm --log-opt bad=1 bb true",
    "run-restart": "run -d --name $N --restart on-failure:2 bb sh -c 'echo x; exit 3'; until_is $N exited; d logs $N; d inspect -f '{{.RestartCount}} {{.State.ExitCode}} {{.HostConfig.RestartPolicy.Name}}' $N; t run --restart bad bb true; t run --restart on-failure:x bb true; t run --restart always:3 bb true",
    "run-health": "run -d --name $N --health-cmd 'exit 0' --health-interval 1s bb sleep 100; d inspect -f '{{json .Config.Healthcheck}} {{.State.Health.Status}}' $N; d ps --format '{{.Status}}'; t run --health-interval 1us bb true; t run --no-healthcheck --health-cmd x bb true",
    "run-oom": "t run -m 8m --name $N bb sh -c 'x=$(head -c 60000000 /dev/zero | tr \"\\\\0\" x); echo $x | wc -c' >/dev/null 2>&1; d inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' $N",
    "run-network-container": "run -d --name $N bb sleep 100; d run --rm --network container:$N bb cat /proc/net/dev | wc -l; t run --rm --network container:nosuch bb true; t run --rm --network bad$N bb true",
    # --- create, start
    "create": "t create --name $N bb sh -c 'echo out; echo err >&2; exit 3'; t start -a $N; t start $N; d wait $N; t logs $N",
    "create-no-image": "f create",
    "create-missing-image": "f create --pull never nosuch$N:1",
    "start-missing": "f start nosuch; f start -a nosuch",
    "start-several": "create --name $N bb sleep 100; create --name $N-2 bb sleep 100; f start $N nosuch $N-2; f start -a $N $N-2; t start $N",
    "start-interactive": "create -i --name $N bb cat; echo typed | d start -ai $N",
    "start-bad-program": "create --name $N bb nosuch; f start $N; f start -a $N; d inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}' $N; d ps -a --format '{{.Status}}'",
    "start-detach-keys-bad": "create --name $N bb true; f start -a --detach-keys bad $N",
    # --- stop, kill, restart, pause, wait
    "stop": f"run -d --name $N bb {LOOP}; until_has $N ready; t stop $N; d wait $N; t stop $N; d inspect -f '{{{{.State.ExitCode}}}} {{{{.State.Status}}}} {{{{.State.Running}}}}' $N",
    "stop-timeout": "run -d --name $N bb sleep 100; t stop -t 1 $N; d wait $N; f stop nosuch; f stop; f stop -t x $N",
    "stop-several": "run -d --name $N bb sleep 100; create --name $N-2 bb true; f stop -t 0 $N nosuch $N-2",
    "kill": f"run -d --name $N bb {LOOP}; until_has $N ready; t kill -s TERM $N; d wait $N; f kill $N; f kill nosuch; f kill -s BAD $N; f kill -s 0 nosuch",
    "kill-signals": "run -d --name $N bb sh -c 'trap \"echo usr\" USR1; echo ready; while :; do sleep 0.05; done'; until_has $N ready; t kill -s USR1 $N; until_has $N usr; t kill -s SIGUSR1 $N; t kill -s 10 $N; f kill -s 999 $N; f kill --signal=BAD $N; t kill $N; d wait $N",
    "restart": f"run -d --name $N bb {LOOP}; until_has $N ready; t restart -t 3 $N; d inspect -f '{{{{.State.Status}}}} {{{{.RestartCount}}}}' $N; f restart nosuch; create --name $N-2 bb true; t restart $N-2; d wait $N-2",
    "pause": "run -d --name $N bb sleep 100; t pause $N; f pause $N; d ps --format '{{.Status}} {{.State}}'; d inspect -f '{{.State.Status}} {{.State.Paused}} {{.State.Running}}' $N; f exec $N true; f start $N; t unpause $N; f unpause $N; f pause nosuch; f unpause nosuch",
    "pause-stopped": "create --name $N bb true; f pause $N; f unpause $N; f attach $N; f exec $N true; f top $N",
    "pause-kill": "run -d --name $N bb sleep 100; d pause $N; t stop -t 0 $N; d wait $N",
    "pause-rm": "run -d --name $N bb sleep 100; d pause $N; f rm $N; t rm -f $N",
    "wait": "run -d --name $N bb sh -c 'exit 9'; run -d --name $N-2 bb true; t wait $N $N-2; f wait nosuch $N; create --name $N-3 bb true",
    "rm": "run -d --name $N bb sleep 100; f rm $N; t rm -f $N; f rm $N; f rm -f $N; create --name $N-2 bb true; f rm nosuch $N-2; f rm",
    "container-noun": "create --name $N bb true; f container rm; f container rm nosuch; t container rm $N; f container nosuch; t container ls -q; f container stop; f container inspect nosuch",
    "rename": "create --name $N bb true; t rename $N $N-b; d ps -a --format '{{.Names}}'; f rename nosuch x; create --name $N-2 bb true; f rename $N-b $N-2; f rename $N-b; f rename $N-b 'b d'; f rename $N-b $N-b; f rename $N-b ''",
    "update": "run -d --name $N -m 64m bb sleep 100; t update -m 128m --memory-swap 256m --cpus 0.5 --pids-limit 77 $N; d inspect -f '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}' $N; t update --restart always $N; d inspect -f '{{.HostConfig.RestartPolicy.Name}}' $N; f update $N; f update -m 64m nosuch; f update -m 1m $N; f update",
    # --- ps
    "ps-empty": "t ps; t ps -a; t ps -q; t ps --format json; t ps --format table",
    "ps-table": "run -d --name $N bb sleep 100; d ps; d ps --no-trunc; d ps -q; d ps -aq --no-trunc",
    "ps-long-command": "create --name $N bb sh -c 'echo a long command of many words' 'and more'; d ps -a; d ps -a --no-trunc --format '{{.Command}}'; d ps -a --format '{{.Command}}'",
    "ps-states": "create --name $N bb true; run -d --name $N-2 bb sleep 100; run --name $N-3 bb sh -c 'exit 3'; d ps -a --format '{{.Names}}: {{.State}} {{.Status}}'; d ps -l --format '{{.Names}}'; d ps -n 2 --format '{{.Names}}'; d ps -n -1 --format '{{.Names}}'",
    "ps-all-columns": "mkdir v; run -d --name $N -l a=b -v $PWD/v:/v --tmpfs /t bb sleep 100; d ps --format 'table {{.ID}}\\t{{.Names}}\\t{{.Image}}\\t{{.Command}}\\t{{.State}}\\t{{.Ports}}\\t{{.Labels}}\\t{{.LocalVolumes}}\\t{{.Networks}}'; d ps --format 'table {{.CreatedAt}}\\t{{.RunningFor}}\\t{{.Status}}'; d ps --format '{{.Label \"a\"}}|{{.Label \"none\"}}'; d ps --format 'table {{.Names}} {{.Label \"a\"}}'; d ps --no-trunc --format '{{.Mounts}}'",
    "ps-json": "run -d --name $N -l a=b bb sleep 100; d ps --format '{{json .}}'; d ps --format '{{json .Names}}'; d ps -s --format '{{.Size}}'",
    "ps-size": "run -d --name $N bb sh -c 'head -c 5000 /dev/zero >/f; echo ready; sleep 100'; until_has $N ready; d ps -s; d ps --format '{{.Size}}'",
    "ps-format-functions": "run -d --name $N bb sleep 100; d ps --format '{{upper .Names}} {{lower \"AB\"}} {{len .Names | printf \"%03d\"}} {{if eq .State \"running\"}}yes{{else}}no{{end}} {{range split .Names \"c\"}}<{{.}}>{{end}} {{join (split .Names \"c\") \"-\"}} {{title .State}} {{pad .State 2 3}}|{{truncate .Image 1}}'",
    "ps-format-bad": "run -d --name $N bb sleep 100; f ps --format '{{.Foo}}'; f ps --format '{{'; f ps --format '{{nosuch .ID}}'; d ps --format 'plain'; d ps --format ''",
    "ps-filters": "run -d --name $N -l a=b -l x bb sleep 100; run --name $N-2 bb sh -c 'exit 3'; create --name $N-3 bb true; for f in name=$N-2 name=^$N\\$ name=^/$N\\$ label=a label=a=b label=a=c label=x label=nosuch status=exited status=created status=running exited=3 exited=0 ancestor=bb ancestor=nosuch before=$N-2 since=$N-2 network=none network=nosuch health=none volume=/nosuch is-task=false publish=80 expose=80; do echo \"$f: $(d ps -a --filter $f --format '{{.Names}}' | tr '\\n' ' ')\"; done; d ps --filter status=exited --format '{{.Names}}'; d ps -a --filter name=$N-2 --filter name=$N-3 --format '{{.Names}}'; d ps -a --filter label=a --filter label=x --format '{{.Names}}'",
    "ps-filters-bad": "f ps --filter bad; f ps --filter bad=x; f ps --filter status=bad; f ps --filter exited=x; f ps --filter before=nosuch; f ps --filter since=nosuch; f ps extra",
    "ps-labels-order": "create --name $N -l b=2 -l a=1 bb true; d ps -a --format '{{.Labels}}' | tr , '\\n' | sort",
    # --- logs
    "logs": "run --name $N bb sh -c 'echo a; sleep 0.3; echo b >&2; sleep 0.3; printf c' >/dev/null 2>&1; t logs $N; d logs --tail 1 $N; d logs -n 2 $N; d logs --tail 0 $N; d logs --tail all $N; t logs --tail bad $N; f logs nosuch; f logs; f logs --since bad $N",
    "logs-timestamps": "run --name $N bb echo a >/dev/null; d logs -t $N; d logs --details $N",
    "logs-details": "run --name $N -l a=b -e c=d --log-opt labels=a --log-opt env=c bb echo a; d logs --details $N",
    "logs-since": "run --name $N bb echo a >/dev/null; d logs --since 1h $N; d logs --until 1h $N; d logs --since 2100-01-01 $N; d logs --until 2100-01-01T00:00:00Z $N; d logs --since 0 $N; d logs --since 1000000000.5 $N",
    "logs-follow": "run -d --name $N bb sh -c 'echo a; sleep 0.3; echo b'; t logs -f $N",
    "logs-follow-tail": "run -d --name $N bb sh -c 'echo a; echo b; while ! test -e /go; do sleep 0.05; done; echo c'; until_has $N b; d logs -f --tail 1 $N >f & while ! grep -q b f; do sleep 0.05; done; d exec $N touch /go; wait; cat f",
    "logs-tty": "run -t --name $N bb sh -c 'echo a; echo b >&2' >/dev/null; t logs $N",
    "logs-several": "run --name $N bb echo a >/dev/null; f logs $N $N",
    # --- exec
    "exec": "run -d --name $N bb sleep 100; t exec $N sh -c 'echo out; echo err >&2; exit 6'; t exec $N nosuch; t exec $N /etc; f exec nosuch true; f exec $N; f exec",
    "exec-options": "run -d --name $N -e A=1 -w /tmp bb sleep 100; d exec -e B=2 $N sh -c 'echo $A $B; pwd'; d exec -w /etc -u app $N sh -c 'id; pwd; echo $HOME'; t exec -w /nosuch $N pwd; t exec -u nosuch $N id; t exec -w rel $N pwd; d exec -e A $N sh -c 'echo ${A-unset}'; d exec --privileged $N true; echo 'Z=9' >env; d exec --env-file env $N sh -c 'echo $Z'",
    "exec-stdin": "run -d --name $N bb sleep 100; echo typed | d exec -i $N cat; echo typed | d exec $N cat; f exec -it $N true; head -c 300000 /dev/zero | d exec -i $N wc -c",
    "exec-tty": "run -d --name $N bb sleep 100; t exec -t $N sh -c 'test -t 1 && echo terminal; echo $TERM; exit 4'",
    "exec-detached": "run -d --name $N bb sh -c 'while ! test -e /f; do sleep 0.05; done; echo seen'; t exec -d $N touch /f; d wait $N; d logs $N; f exec -d $N true",
    "exec-detached-bad": "run -d --name $N bb sleep 100; f exec -d $N nosuch; t exec -d -t $N true",
    "exec-signal": "run -d --name $N bb sleep 100; t exec $N sh -c 'kill -9 $$'",
    # --- attach
    "attach": "run -d --name $N bb sh -c 'sleep 1; echo late; exit 8'; t attach $N; f attach $N; f attach nosuch; f attach",
    "attach-stdin": "run -d -i --name $N bb sh -c 'read x; echo got $x; exit 2'; echo word | d attach $N >/dev/null; echo $?; d logs $N",
    "attach-no-stdin": "run -d -i --name $N bb sh -c 'sleep 0.5; echo end'; t attach --no-stdin $N",
    # --- inspect
    "inspect-empty": "create --name $N bb true; for f in Config.Entrypoint Config.Volumes Config.ExposedPorts Config.OnBuild Config.Healthcheck ExecIDs HostConfig.Binds HostConfig.CapAdd HostConfig.CapDrop HostConfig.GroupAdd HostConfig.SecurityOpt HostConfig.Links HostConfig.VolumesFrom HostConfig.ExtraHosts HostConfig.Tmpfs HostConfig.Sysctls HostConfig.Mounts HostConfig.Init HostConfig.PortBindings SizeRw; do d inspect -f \"$f {{.$f}} {{json .$f}} {{if .$f}}yes{{end}}\" $N; done; d inspect -f '{{printf \"%q\" .Config.Cmd}} {{index .Config.Labels \"x\"}}. {{.Config.Labels.x}} {{len .HostConfig.Binds}} {{range .HostConfig.Binds}}x{{else}}none{{end}} {{join .Config.Entrypoint \",\"}}' $N; d image inspect -f '{{.Config.Entrypoint}} {{.Config.Volumes}} {{.Config.ExposedPorts}} {{.Config.OnBuild}} {{.Config.Cmd}}' bb",
    "inspect-fields": "mkdir v; run -d --name $N -l a=b -e X=y -v $PWD/v:/v:ro --tmpfs /t --entrypoint sleep bb 100; d inspect -f '{{.Name}} {{.Path}} {{.Args}} {{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.Restarting}} {{.State.OOMKilled}} {{.State.Dead}} {{.State.ExitCode}} {{.State.Error}} {{.State.StartedAt}} {{.State.FinishedAt}} {{.Created}} {{.RestartCount}} {{.Driver}} {{.Platform}} {{.Config.Image}} {{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.Env}} {{.Config.WorkingDir}} {{.Config.User}} {{.Config.Tty}} {{.Config.OpenStdin}} {{.Config.Labels}} {{.Config.StopSignal}} {{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.AutoRemove}} {{.HostConfig.LogConfig.Type}} {{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.ShmSize}} {{.HostConfig.Binds}}' $N; d inspect -f '{{json .Mounts}}' $N; d inspect -f '{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}};{{end}}' $N; d inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' $N; d inspect -f '{{index .Config.Labels \"a\"}}' $N; d inspect -f '{{json .Config}}' $N; d inspect -f '{{json .State}}' $N | sed 's/\"Pid\":[0-9]*/PID/'; d inspect -f '{{.HostConfig.Tmpfs}}' $N; d inspect -f '{{if .State.Pid}}pid{{end}}' $N; d inspect -f '{{len .Id}} {{len .Image}}' $N; d inspect -f '{{println .Name}}' $N; d inspect -f '{{.NetworkSettings.IPAddress}}' $N",
    "inspect-exited": "run --name $N bb sh -c 'exit 3'; d inspect -f '{{json .State}}' $N; d container inspect -f '{{.State.ExitCode}}' $N",
    "inspect-created": "create --name $N bb true; d inspect -f '{{json .State}}' $N",
    "inspect-keys": "create --name $N bb true; d inspect $N | grep -o '^        \"[A-Za-z]*\"' | sort; d inspect $N | grep -o '^            \"[A-Za-z]*\"' | sort",
    "inspect-host-config": "create --name $N bb true; d inspect -f '{{json .HostConfig}}' $N | tr -d '}' | tr , '\\n' | grep -v -e Kernel -e Blkio -e Ulimits -e Runtime -e '^\"/' -e Paths | sort",
    "inspect-missing": "f inspect nosuch; create --name $N bb true; f inspect -f '{{.Name}}' nosuch $N; f container inspect nosuch; f image inspect nosuch; f inspect --type bad x; f inspect --type image $N; f inspect --type container nosuch; f inspect -f '{{.Nope}}' $N; f inspect -f '{{.State.Nope}}' $N; f inspect -f '{{bad' $N; f inspect",
    "inspect-size": "create --name $N bb true; d inspect -s -f '{{.SizeRw}} {{if .SizeRootFs}}size{{end}}' $N",
    "inspect-image": "d image inspect bb -f '{{.RepoTags}} {{.RepoDigests}} {{.Os}} {{.Architecture}} {{.Created}} {{.Config.Cmd}} {{.Config.Env}} {{.Config.WorkingDir}} {{.RootFS.Type}} {{len .RootFS.Layers}} {{.Id}}'; d inspect --type image bb -f '{{.Id}}'; d inspect bb -f '{{json .Config.Cmd}}'; d image inspect bb -f '{{.Size}} {{.Comment}}|{{.Author}}|{{.Parent}}'",
    "inspect-image-keys": "d image inspect bb | grep -o '^        \"[A-Za-z]*\"' | sort",
    # --- top, stats, events
    "top": "run -d --name $N bb sleep 100; d top $N | awk '{print $1, $NF}'; d top $N -o pid,comm | awk '{print NF, $2}'; f top nosuch; f top; f top $N -o bad; f top $N -o comm",
    "stats": "run -d --name $N -m 64m bb sleep 100; d stats --no-stream --format '{{.Name}} {{.Container}} {{.ID}} {{.PIDs}} {{.NetIO}}' $N; d stats --no-stream --format '{{.MemUsage}}' | sed 's/^[^/]*//'; d stats --no-stream | head -n 1; d stats --no-stream --format '{{json .}}' | tr , '\\n' | cut -d: -f1; f stats --no-stream nosuch; create --name $N-2 bb true; d stats --no-stream --format 'table {{.Name}}\\t{{.CPUPerc}}\\t{{.MemUsage}}\\t{{.MemPerc}}\\t{{.PIDs}}\\t{{.BlockIO}}' $N-2; f stats --no-stream --format '{{.Foo}}' $N",
    "events-life": "s=$(date +%s); run -d --name $N -l a=b bb sleep 100; d pause $N; d unpause $N; d exec $N true; d kill $N; d wait $N; d rename $N $N-b; d rm $N-b; sleep 1; d events --since $s --until $(date +%s) --filter type=container --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.image}} {{.Actor.Attributes.a}} {{.Actor.Attributes.exitCode}} {{.Actor.Attributes.signal}}' | sort",
    "events-stop": f"s=$(date +%s); run -d --name $N bb {LOOP}; until_has $N ready; d stop $N; d start $N; until_has $N ready; d restart -t 10 $N; sleep 1; d events --since $s --until $(date +%s) --filter container=$N --format '{{{{.Action}}}} {{{{.Actor.Attributes.exitCode}}}} {{{{.Actor.Attributes.signal}}}}' | sort",
    "events-filters": "s=$(date +%s); run --name $N -l a=b bb true; run --name x$N bb sh -c 'exit 3'; sleep 1; u=$(date +%s); for f in event=die container=$N label=a image=bb type=image event=start; do echo \"$f:\"; d events --since $s --until $u --filter type=container --filter $f --format '{{.Action}} {{.Actor.Attributes.name}}'; done; f events --since $s --until $u --filter bad; f events --since bad; d events --since $s --until $u --filter event=die --filter event=create --format '{{.Status}} {{.From}}'",
    "events-line": "s=$(date +%s); create --name $N bb true; sleep 1; u=$(date +%s); d events --since $s --until $u --filter container=$N; d events --since $s --until $u --filter container=$N --format '{{json .}}' | sed 's/\"\\(time[Nano]*\\)\":[0-9]*/\\1/g'; f events --since $s --until $u --format '{{.Bad}}'",
    "events-images": "s=$(date +%s); d tag bb $N:1; d rmi $N:1 >/dev/null; create --name $N bb true; d commit $N $N:2 >/dev/null; d rmi $N:2 >/dev/null; sleep 1; d events --since $s --until $(date +%s) --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}' --filter type=image",
    # --- cp
    "cp-file-in": "create --name $N bb cat /f; echo text >f; t cp f $N:/f; d start -a $N; t cp f $N:/; t cp f $N:/tmp/; t cp f $N:/tmp/g; d cp $N:/tmp/g - | tar t; f cp f $N:/no/f; f cp f $N:/no/; f cp nosuch $N:/; f cp f nosuch:/",
    "cp-file-out": "create --name $N bb true; t cp $N:/etc/passwd .; cat passwd; t cp $N:/etc/passwd p; cmp p passwd; mkdir d; t cp $N:/etc/passwd d; t cp $N:/etc/passwd d/; ls d; f cp $N:/etc/passwd no/x; f cp $N:/etc/passwd no/; f cp $N:/nosuch .; f cp nosuch:/etc .; f cp $N:/etc/passwd/ .; f cp $N:/etc/passwd/x .",
    "cp-folder-in": "create --name $N bb sh -c 'find /a /b /c /tmp | sort'; mkdir -p a/x b; echo 1 >a/x/f; t cp a $N:/; t cp a $N:/b; t cp a/. $N:/c; t cp a/ $N:/tmp; d start -a $N; f cp a $N:/etc/passwd; f cp a $N:/no/such; f cp a $N:/no/such/",
    "cp-folder-in-existing": "create --name $N bb sh -c 'find /tmp /www | sort'; mkdir -p a/x; echo 1 >a/x/f; t cp a $N:/www; t cp a/. $N:/www; t cp a $N:/tmp/; t cp a $N:/tmp/new; d start -a $N",
    "cp-folder-out": "create --name $N bb true; t cp $N:/www .; t cp $N:/www new; t cp $N:/www/. flat; mkdir there; t cp $N:/www there; t cp $N:/www/. there; t cp $N:/www/ there/x; echo >file; f cp $N:/www file; f cp $N:/www no/such; find . -mindepth 1 -not -name '.*' | sort",
    "cp-links": "create --name $N bb sh -c 'ls -l /l /m | cut -c1; cat /m'; echo t >f; ln -s f l; t cp l $N:/l; t cp -L l $N:/m; d start -a $N; d cp $N:/l out; ls -l out | cut -c1; d cp -L $N:/bin/sh sh; ls -l sh | cut -c1; ln -s nosuch dangling; t cp dangling $N:/dang; f cp -L dangling $N:/x",
    "cp-link-to-folder": "create --name $N bb sh -c 'ln -s /www /w; find /w/ /www | sort'; d start -a $N; mkdir a; echo 1 >a/f; t cp a $N:/w; t cp a/f $N:/w/; t cp a/f $N:/w; d start -a $N; t cp $N:/w o; ls -ld o | cut -c1; t cp $N:/w/ p; find p | sort; t cp $N:/w/. q; find q | sort; t cp -L $N:/w r; find r | sort",
    "cp-stream": "create --name $N bb sh -c 'cat /f; ls /tmp'; echo t >f; tar cf - f | t cp - $N:/; tar cf - f | t cp - $N:/tmp; d start -a $N; d cp $N:/www - | tar t; d cp $N:/www/. - | tar t; d cp $N:/etc/passwd - | tar t; tar cf - f | f cp - $N:/etc/passwd; tar cf - f | f cp - $N:/nosuch; echo bad | f cp - $N:/; f cp - -; f cp a b; f cp $N:/a $N:/b; f cp a",
    "cp-owner": "create --name $N bb stat -c '%u %g %a' /f /g; echo t >f; chmod 640 f; chown 1000:2000 f; d cp f $N:/f; d cp -a f $N:/g; d start -a $N; d cp $N:/g h; stat -c '%u %g %a' h; d cp -a $N:/g i; stat -c '%u %g %a' i",
    "cp-running": "run -d --name $N --tmpfs /t bb sleep 100; echo t >f; t cp f $N:/tmp/f; d exec $N cat /tmp/f; t cp $N:/proc/1/comm c; cat c; t cp f $N:/t/f",
    "cp-bind": "mkdir v; echo 1 >v/f; create --name $N -v $PWD/v:/v bb true; t cp $N:/v/f out; cat out; echo 2 >g; t cp g $N:/v/g; ls v",
    "cp-bind-ro": "mkdir v; echo 1 >v/f; create --name $N -v $PWD/v:/v:ro bb true; t cp $N:/v/f out; cat out; echo 2 >g; f cp g $N:/v/g; ls v",
    "cp-read-only": "create --name $N --read-only bb true; echo t >f; f cp f $N:/f; t cp $N:/etc/passwd p",
    "cp-relative": "create --name $N -w /etc bb true; f cp $N:passwd p; t cp $N:etc/passwd q; ls; f cp :x y; f cp x :y; t cp $N:/etc/../etc/group .; f cp $N: .",
    "cp-over": "create --name $N bb true; mkdir f; f cp $N:/etc/passwd/. .; t cp $N:/etc/passwd f; ls f; mkdir -p g/passwd; f cp $N:/etc/passwd g; echo x >e; f cp e $N:/; mkdir www; echo w >www/index; f cp www/index $N:/www; f cp e/ $N:/e",
    # --- diff, commit, export, import
    "diff": "run --name $N bb sh -c 'touch /a; rm /etc/group; mkdir /d; echo >>/etc/passwd; chmod 700 /www; echo >/d/f'; d diff $N | sort; f diff nosuch; f diff; create --name $N-2 bb true; t diff $N-2",
    "commit": "create --name $N bb sh -c 'touch /a'; d start -a $N; d commit -m msg -a me -c 'CMD [\"echo\", \"hi\"]' -c 'ENV A=b' -c 'WORKDIR /tmp' -c 'LABEL x=y' $N $N:1; d image inspect -f '{{.Comment}} {{.Author}} {{.Config.Cmd}} {{.Config.Env}} {{.Config.WorkingDir}} {{.Config.Labels}} {{len .RootFS.Layers}}' $N:1; run --rm $N:1; d history --format '{{.CreatedBy}}|{{.Size}}|{{.Comment}}' $N:1; f commit nosuch; f commit $N BAD; f commit -c 'BAD x' $N; f commit -c 'RUN x' $N; f commit; d rmi $N:1 | cut -d: -f1",
    "commit-no-name": "create --name $N bb true; i=$(d commit $N); d images -q --no-trunc | grep -c ${i#sha256:}; d images --filter dangling=true --format '{{.Repository}} {{.Tag}}'; d rmi $i | cut -d: -f1",
    "export": "create --name $N bb true; d export $N | tar t | sort | grep -v ^bin; d export -o f $N; tar tf f | wc -l; f export nosuch; f export; f export -o no/such/f $N",
    "import": "create --name $N bb true; d export $N >t; d import -m msg -c 'CMD [\"cat\", \"/etc/passwd\"]' t $N:1; run --rm $N:1; d image inspect -f '{{.Comment}} {{.Config.Cmd}} {{.Os}}' $N:1; cat t | d import - $N:2; f import nosuch; f import t BAD; d rmi $N:1 $N:2 | cut -d: -f1; echo bad | f import - $N:3",
    # --- images
    "images": "d images; d images -q; d images --no-trunc; d images --digests; d images --format '{{.Repository}}|{{.Tag}}|{{.ID}}|{{.CreatedSince}}|{{.CreatedAt}}|{{.Digest}}'; d images --format 'table {{.ID}}\\t{{.Tag}}'; d images nosuch; d images bb:latest -q; d images bb:no; d images b -q; f images a b; f images --format '{{.Foo}}'",
    "images-filters": "d tag bb $N/x:1; for f in dangling=true dangling=false reference=bb 'reference=*:latest' \"reference=$N/*\" 'reference=*/*' since=bb before=bb label=x; do echo \"$f\"; d images --filter \"$f\" --format '{{.Repository}}:{{.Tag}}' | sort; done; f images --filter bad; f images --filter bad=x; f images --filter dangling=x; f images --filter before=nosuch; d rmi $N/x:1",
    "images-json": "d images --format '{{json .}}' bb | tr -d '}' | tr , '\\n' | grep -v -e Size -e SharedSize",
    "tag": "t tag bb $N:1; t tag bb $N; d images --format '{{.Repository}}:{{.Tag}}' | sort; f tag nosuch x; f tag bb BAD; f tag bb; t rmi $N:1 $N; f rmi nosuch; f rmi BAD; f rmi",
    "rmi-used": "create --name $N $(d tag bb $N:1; echo $N:1) true; t rmi $N:1; d ps -a --format '{{.Image}}'",
    "rmi-id": "d tag bb $N:1; f rmi $(d images -q bb); t rmi -f $N:1",
    "rmi-last": "create --name $N bb true; d commit $N $N:1 >/dev/null; create --name $N-2 $N:1 true; f rmi $N:1; t rmi -f $N:1; d ps -a --format '{{.Names}} {{.Image}}'",
    "history": "d history bb; d history --no-trunc bb; d history -q bb; d history --format '{{.ID}}|{{.CreatedSince}}|{{.CreatedBy}}|{{.Comment}}' bb; d history -H=false --format '{{.CreatedAt}}' bb; f history nosuch; f history",
    "save-load": "d tag bb $N:1; d save -o f $N:1; d rmi $N:1; d load -i f; d save $N:1 | d load -q; d images -q $N; f save nosuch; f save; f load -i nosuch; echo bad | f load; f load -i /dev/null; f save -o no/f $N:1; d rmi $N:1",
    "prune": "create --name $N bb true; echo n | d container prune; d container prune -f | sed 's/space: .*/space/'; d ps -a; create --name $N bb true; i=$(d commit $N); d rm $N; d image prune -f | grep -v -e sha256 -e space; d images -q --no-trunc | grep -c ${i#sha256:}; d container prune -f --filter bad=x; d container prune -f",
    "prune-all": "d tag bb $N:1; create --name $N bb true; d image prune -f --filter until=1s | tail -n 1; d system prune -f | grep -e Deleted -e Total; d images --format '{{.Repository}}:{{.Tag}}' | sort; d rmi $N:1",
    # --- version, info, help
    "system-df": "create --name $N bb true; run -d --name x$N bb sleep 100 >/dev/null; d system df --format '{{.Type}}|{{.TotalCount}}|{{.Active}}'; d system df --format '{{json .}}' | sed 's/\"\\(Size\\|Reclaimable\\)\":\"[^\"]*\"/\\1/g'; d system df | cut -c1-35; d system df -v | grep -e usage -e '^[A-Z ]*$'; echo \"$(d system df -v --format '{{range .Images}}{{.Repository}} {{.Tag}} {{.Containers}}{{end}} {{range .Containers}}{{.Names}} {{.Image}} {{.Status}};{{end}}')\" | tr ';' '\\n' | sort; f system df --format '{{.Bad}}'; f system df extra",
    "run-output-closed": "run --name $N bb yes | head -n 1; d ps --format '{{.Names}} {{.State}}'; f run --rm bb echo hi >/dev/full",
    "run-volume-anonymous": "(umask 077; run --rm -v /new/one bb ls -ld /new/one | cut -c1-36; run --rm --mount type=volume,dst=/other bb ls -ld /other | cut -c1-36)",
    "version": "d version --format '{{if .Client.Version}}yes{{end}} {{.Client.Os}} {{.Client.Arch}} {{.Server.Os}} {{.Server.Arch}} {{if .Server.KernelVersion}}kernel{{end}}'; f version --format '{{.Bad}}'; f version extra; d version --format json | grep -c Client",
    "info": "create --name $N bb true; d info --format '{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}} {{.Images}} {{.Driver}} {{.OSType}} {{.Architecture}} {{.NCPU}} {{.MemTotal}} {{.KernelVersion}} {{.CgroupDriver}} {{.CgroupVersion}} {{.LoggingDriver}}'; f info --format '{{.Bad}}'; d info --format '{{json .Images}}'; d info --format '{{.Name}}'",
    "unknown": "f nosuch; t --nosuch ps; t ps --nosuch; t ps -Z",
}


# Refusals, whose words are MiniDocker's own where they say more: what was written, and what may be.
OWN_WORDS = {
    "run-status-folder", "run-image-bad-name", "run-attach-bad", "run-attach-detach", "run-rm-restart", "run-env-file", "run-env-bad", "run-workdir", "run-group-add",
    "run-volume-bad", "run-mount-bad", "run-ulimit", "run-caps", "run-no-new-privileges", "run-pull-never", "run-seccomp", "run-sysctl", "run-shm-size", "run-pid-host", "run-ipc",
    "run-cidfile", "run-limits-refused", "run-device", "run-log-driver-none", "run-restart", "run-network-container", "start-detach-keys-bad", "stop-timeout", "kill",
    "kill-signals", "pause-rm", "rm", "container-noun", "rename", "ps-format-bad", "ps-filters-bad", "logs", "exec-options", "inspect-missing", "stats", "events-filters", "events-line",
    "cp-file-in", "cp-file-out", "cp-folder-in", "cp-folder-out", "cp-links", "cp-stream", "cp-bind-ro", "cp-relative", "cp-over", "commit", "export", "import", "images",
    "images-filters", "tag", "save-load", "prune", "version", "system-df", "run-output-closed", "info", "unknown",
}  # fmt: skip
PORTRAIT = [
    (r"^1 /proc/keys masked", "1 /proc/interrupts masked\n1 /proc/keys masked", "older: newer dockers hide it, as MiniDocker does"),
    (r"/pyoci-engines-\d+/ID64", "/minidocker/ID64", "the cgroup's parent"),
]  # fmt: skip
OLDER = "older: dockerd of before 26 has it so"
# What else differs: a pattern of docker's lines (`1 OUT`, `2 ERR`), what stands there of MiniDocker's, why.  "older...": a difference that newer dockers have not.
DIFFERS = {
    "run-workdir": [(r"1 => 125\n1 => 125", "1 => 125\n1 => 126", "the runtime is who finds out that it is no folder")],
    "run-hostname": [(r"1 => 0\n1 $", "1 => 125\n1 ", "a name that is none is refused"), (r"\Z", "\n2 invalid hostname format: -bad-", "as above")],
    "run-hosts": [(r"fe00::0", "fe00::", OLDER), (r"ff00::0", "ff00::", OLDER)],
    "run-label": [(r'"x":"1"}', '"x":"1","y":""}', "a label without a value in a file is a label, as --label's is")],
    "run-cidfile": [(r"1 => 127", "1 => 125", "127 is for a program that is not there")],
    "run-oom": [(r"1 (true|false) 137", "1 true 137", "docker may hear of the end before it hears of the memory")],
    "run-device": [(r"1 => 127", "1 => 125", "127 is for a program that is not there")],
    "run-portrait": PORTRAIT,
    "run-portrait-user": PORTRAIT,
    "run-pull-never": [(r"1 => 125\n1 => 0", "1 => 125\n1 => 125", OLDER)],
    "start-bad-program": [
        (r"=> 1, failed\n1 => 1,", "=> 1, failed\n1 => 127,", "start -a says it as run does"),
        (r"failed to create .*?(unable to start container process: )(.*): unknown", r"\1process.args[0]: \2", "it came through no shim"),
    ],
    "logs": [(r"1 cca\n1 ca\n1 c=> 0", "1 cca\n1 c=> 125", "a number of lines that is none is refused, not taken for all")],
    "logs-timestamps": [(r"^1  a", "1 a", "--details has nothing to show: labels and variables are not kept with each line")],
    "logs-details": [(r"^1 a=b,c=d a", "1 a", "as above")],
    "exec": [
        (r"^1 OCI runtime exec failed.*\n1 => 126\n1 OCI.*\n", "1 => 127\n", "dockerd says it on the process's output, and 126 for both"),
        (r"^2 no such container: nosuch$", '2 unable to start container process: exec: "nosuch": executable file not found in $PATH\n'
         '2 unable to start container process: exec: "/etc": is a directory: permission denied\n2 no such container: nosuch', "as above"),
    ],
    "exec-options": [
        (r"^1 OCI runtime exec failed: .*chdir.*\n1 => 126\n1 unable.*\n1 => 126\n1 OCI.*\n1 => 126", "1 => 127\n1 => 125\n1 => 125",
         "dockerd says it on the process's output, and 126 for each"),
        (r"^1 OCI runtime exec failed: .*unable to apply caps.*\n", "", "older: of a host without every capability only those are taken that it has"),
        (r"\Z", "\n2 some", "as above"),
    ],
    "exec-detached-bad": [(r"=> 1, failed", "=> 127, failed", "exec -d says it as exec does")],
    "prune": [(r"(\[y/N\] )Total reclaimed space: 0B\n1 ", r"\1", OLDER)],
    "inspect-keys": [(r'1 +"KernelMemory(TCP)?"\n', "", OLDER)],
    "inspect-image-keys": [(r'1 +"(Container|ContainerConfig|VirtualSize)"\n', "", OLDER)],
    "inspect-missing": [(r"failed\n1 \n1 =>", "failed\n1 =>", "no empty line for what was not found")],
    "version": [(r"^1 \n1 =>", "1 =>", "no empty line before an error"), (r"1 0\n1 $", "1 1\n1 ", OLDER)],
    "info": [(r"^1 \n1 =>", "1 =>", "no empty line before an error")],
    "cp-owner": [
        (r"1 1000 2000 640\n1 1000 2000 640\n1 0 0 640\n1 0 0 640", "1 0 0 640\n1 1000 2000 640\n1 0 0 640\n1 1000 2000 640",
         "docker-cp(1): to a container root owns what is copied, --archive keeps owners; docker does the first never, the second in one direction only"),
    ],
    "cp-running": [(r"1 => 1\n1 => 0\n1 \n2.*\n2.*", "1 => 0\n1 sleep\n1 => 0\n1 ", "a running container is seen as its processes see it, with /proc and tmpfs")],
}  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """docker and minidocker in one place."""
    import docker_pair

    with docker_pair.pair(tmp_path_factory.mktemp("pair")) as made:
        yield made


@pytest.mark.parametrize("name", ROWS)
def test_minidocker_prints_what_docker_prints(pair, name):
    pair.compare(ROWS[name], DIFFERS.get(name, ()), words=name not in OWN_WORDS)
