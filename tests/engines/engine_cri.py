"""Pods by containerd's CRI, as kubelet asks for them; a program for the system's Python, which has h2 (Debian: python3-h2).

    /usr/bin/python3 engine_cri.py SOCKET HANDLER CGROUP_PARENT FOLDER SCENARIO

prints what was seen, the same for every runtime that does its work.  The protocol is gRPC: a protocol buffer behind five bytes, in a
stream of HTTP/2.  Field numbers: runtime/v1 of the CRI.  NamespaceMode: 0 the pod's, 1 the container's, 2 the node's.
"""

import os
import socket
import sys
import time

import h2.config
import h2.connection
import h2.events

IMAGE = "docker.io/library/bb:latest"
TIMEOUT_S = 40
POD, CONTAINER, NODE = 0, 1, 2
RUNNING, EXITED = 1, 2


class Refused(Exception):
    """A call's gRPC status that is not 0, and its message."""


# --- protocol buffers, without a schema: {field number: value}; a dict is a message, a list is repeated


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def encode(message):
    """The bytes of a message."""
    out = b""
    for field, value in message.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int):
                out += varint(field << 3) + varint(one)
            else:
                data = encode(one) if isinstance(one, dict) else one.encode()
                out += varint(field << 3 | 2) + varint(len(data)) + data
    return out


def decode(data):
    """{field number: [int or bytes]}"""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(data):
        field, kind = divmod(number(), 8)
        value = number()
        if kind == 2:
            value, at = data[at : at + value], at + value
        found.setdefault(field, []).append(value)
    return found


# --- gRPC


class Client:
    """One connection, one call at a time."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(path)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.http.initiate_connection()

    def __call__(self, method, message=None):
        """The answer's fields.  Raises Refused."""
        data = encode(message or {})
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, [
            (":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", f"/runtime.v1.RuntimeService/{method}"),
            ("te", "trailers"), ("content-type", "application/grpc"),
        ])  # fmt: skip
        self.http.send_data(stream, b"\0" + len(data).to_bytes(4, "big") + data, end_stream=True)
        answer, headers = b"", {}
        while True:
            self.socket.sendall(self.http.data_to_send())
            for event in self.http.receive_data(self.socket.recv(65536)):
                if isinstance(event, h2.events.DataReceived):
                    answer += event.data
                    self.http.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    headers.update(event.headers)
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    raise Refused(-1, str(event))
                elif isinstance(event, h2.events.StreamEnded):
                    self.socket.sendall(self.http.data_to_send())
                    if headers.get("grpc-status") != "0":
                        raise Refused(int(headers["grpc-status"]), headers.get("grpc-message"))
                    return decode(answer[5:])


# --- pods


class Cri:
    """What the scenarios ask for."""

    def __init__(self, path, handler, group, folder):
        self.call = Client(path)
        self.handler, self.group, self.folder = handler, group, folder

    def pod(self, name, **namespaces):
        """Run a sandbox.  Returns it: (id, its configuration)."""
        logs = f"{self.folder}/logs-{self.handler}/{name}"
        os.makedirs(logs, exist_ok=True)
        modes = {1: namespaces.get("network", POD), 2: namespaces.get("pid", CONTAINER), 3: namespaces.get("ipc", POD)}
        config = {1: {1: name, 2: f"{name}-{self.handler}", 3: "tests"}, 3: logs, 8: {1: self.group, 2: {1: modes}}}
        if modes[1] != NODE:
            config[2] = name
        return self.call("RunPodSandbox", {1: config, 2: self.handler})[1][0].decode(), config

    def container(self, pod, name, command, resources=None, security=None, mounts=()):
        """Create and start one.  Returns its id."""
        linux = {1: resources or {}, 2: {3: pod[1][8][2][1], **(security or {})}}
        config = {1: {1: name}, 2: {1: IMAGE}, 3: command, 6: [{1: "K", 2: "V"}], 7: list(mounts), 11: f"{name}.log", 15: linux}
        container = self.call("CreateContainer", {1: pod[0], 2: config, 3: pod[1]})[1][0].decode()
        self.call("StartContainer", {1: container})
        return container

    def exec(self, container, *words, timeout_s=20):
        """(exit code, output, errors)"""
        answer = self.call("ExecSync", {1: container, 2: list(words), 3: timeout_s})
        return answer.get(3, [0])[0], answer.get(1, [b""])[0].decode(), answer.get(2, [b""])[0].decode()

    def status(self, container):
        return decode(self.call("ContainerStatus", {1: container})[1][0])

    def wait(self, container, state=EXITED):
        """Its status once it is in the state."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while (status := self.status(container)).get(3, [0])[0] != state:
            if time.monotonic() > deadline_s:
                sys.exit(f"still in state {status.get(3)}")
        return status

    def log(self, pod, name):
        """The lines of a container's log without their times."""
        with open(f"{pod[1][3]}/{name}.log") as lines:
            return [line.split(" ", 1)[1].rstrip("\n") for line in lines]

    def remove(self, *pods):
        """Stop and remove pods, and with them their containers."""
        for pod, _ in pods:
            self.call("StopPodSandbox", {1: pod})
            self.call("RemovePodSandbox", {1: pod})
        print("pods", len(self.call("ListPodSandbox").get(1, [])), "containers", len(self.call("ListContainers").get(1, [])))


def told(status):
    """How a container ended: exit code, reason."""
    return "ended", status.get(7, [0])[0], status.get(10, [b""])[0].decode()


# --- scenarios


def two_containers(cri):
    """Two containers of a pod share its network, IPC and UTS namespaces, and not their mounts and pids."""
    pod = cri.pod("p")
    state = decode(cri.call("PodSandboxStatus", {1: pod[0]})[1][0])
    print("ready", state.get(3, [0])[0] == 0, "address", bool(decode(state[5][0])[1][0]))
    web = cri.container(pod, "web", ["httpd", "-f", "-p", "80", "-h", "/www"])
    other = cri.container(pod, "other", ["sleep", "1000"])
    print(cri.exec(other, "wget", "-qO-", "http://127.0.0.1/"))
    seen = [dict(line.split() for line in cri.exec(one, "sh", "-c", "for n in net ipc uts mnt pid; do echo $n $(readlink /proc/1/ns/$n); done")[1].splitlines()) for one in (web, other)]
    print({kind: seen[0][kind] == seen[1][kind] for kind in seen[0]})
    print(cri.exec(other, "portrait")[1])
    cri.remove(pod)


def shared_pids(cri):
    """A pod whose containers see each other's processes."""
    pod = cri.pod("p", pid=POD)
    cri.container(pod, "first", ["sleep", "1001"])
    second = cri.container(pod, "second", ["sleep", "1002"])
    print(sorted(line for line in cri.exec(second, "ps", "-o", "args")[1].splitlines() if "sleep" in line))
    cri.remove(pod)


def execs(cri):
    """Exit codes, both outputs, a time-out, and programs that are not there."""
    pod = cri.pod("p")
    container = cri.container(pod, "c", ["sleep", "1000"])
    print(cri.exec(container, "sh", "-c", "echo $K; echo err >&2; exit 9"))
    print(len(cri.exec(container, "seq", "100000")[1]))
    for words, timeout_s in ((["sleep", "1000"], 1), (["/no/such"], 5), (["/etc"], 5)):
        try:
            print(words, cri.exec(container, *words, timeout_s=timeout_s))
        except Refused as refused:
            print(words, "refused", refused.args[0])
    print(cri.exec(container, "sh", "-c", "ps | grep -c '[s]leep 1000'"))
    cri.remove(pod)


def logs_and_exit(cri):
    """The log's format, the exit code, the end by a signal, and a program that can't be started."""
    pod = cri.pod("p")
    print(told(cri.wait(cri.container(pod, "c", ["sh", "-c", "echo out; echo err >&2; printf half; exit 7"]))))
    print(sorted(cri.log(pod, "c")))
    print(told(cri.wait(cri.container(pod, "k", ["sh", "-c", "kill -9 $$"]))))
    try:
        cri.container(pod, "n", ["/no/such"])
    except Refused as refused:
        print("refused", refused.args[0], "no such file or directory" in refused.args[1])
    cri.remove(pod)


def stop(cri):
    """A container that obeys, one that does not, and its second life."""
    pod = cri.pod("p")
    for name, script in (("good", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"), ("deaf", "trap '' TERM; echo ready; while :; do sleep 0.1; done")):
        container = cri.container(pod, name, ["sh", "-c", script])
        while not cri.log(pod, name):
            pass
        cri.call("StopContainer", {1: container, 2: 10 if name == "good" else 1})
        print(told(cri.status(container)))
        cri.call("RemoveContainer", {1: container})
    print(cri.exec(cri.container(pod, "again", ["sleep", "1000"]), "hostname"))
    cri.remove(pod)


def limits(cri):
    """Resources, as asked and as updated; statistics; the end by lack of memory."""
    pod = cri.pod("p")
    container = cri.container(pod, "c", ["sleep", "1000"], {1: 100000, 2: 50000, 3: 512, 4: 64 << 20})
    print(cri.exec(container, "portrait")[1])
    cri.call("UpdateContainerResources", {1: container, 2: {1: 100000, 2: 20000, 4: 96 << 20}})
    print(cri.exec(container, "sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max")[1])
    stats = decode(cri.call("ContainerStats", {1: container})[1][0])
    print("memory", decode(decode(stats[3][0])[2][0])[1][0] > 0)
    eater = cri.container(pod, "eater", ["sh", "-c", "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo ${#x}"], {4: 16 << 20, 10: 16 << 20})
    print(told(cri.wait(eater)))
    cri.remove(pod)


def secured(cri):
    """What a strict securityContext asks for."""
    pod = cri.pod("p")
    os.makedirs(f"{cri.folder}/volume", exist_ok=True)
    security = {1: {2: ["ALL"]}, 5: {1: 1000}, 12: {1: 1000}, 8: [3000], 7: 1, 11: 1, 15: {1: 0}, 13: ["/proc/kcore", "/proc/keys", "/sys/firmware"], 14: ["/proc/sys", "/proc/bus"]}
    volume = {1: "/volume", 2: f"{cri.folder}/volume", 3: 1}
    container = cri.container(pod, "c", ["sleep", "1000"], None, security, [volume])
    print(cri.exec(container, "portrait")[1])
    print(cri.exec(container, "touch", "/volume/x"))
    cri.remove(pod)


def node_namespaces(cri):
    """A pod of the node's namespaces, as node agents have."""
    pod = cri.pod("p", network=NODE, pid=NODE, ipc=NODE)
    print(cri.exec(cri.container(pod, "c", ["sleep", "1000"]), "portrait")[1])
    cri.remove(pod)


def many(cri):
    """Twenty containers in five pods."""
    pods = [cri.pod(f"p{number}") for number in range(5)]
    for number in range(20):
        print(cri.exec(cri.container(pods[number % 5], f"c{number}", ["sleep", "1000"]), "hostname"))
    cri.remove(*pods)


if __name__ == "__main__":
    globals()[sys.argv[5]](Cri(*sys.argv[1:5]))
