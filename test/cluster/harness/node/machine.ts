// The machine as the node sees it, inside namespaces of its own: an empty /run and /var/log in memory, kernel settings
// of its own, a bridge with the node's address. All of it goes with the namespaces.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readNetworkNamespace } from './wish.ts';

/** Everything a node writes; in memory. Short, because paths of Unix sockets end at 108 characters. */
export const NODE_FOLDER = '/run/coatcheck';
/** Of the node, its API server and its DNS; pods get theirs from the same network. */
export const NODE_ADDRESS = '10.88.0.1';
export const POD_NETWORK = '10.88.0.0/24';
export const NODE_BRIDGE = 'cni0';
export const NODE_NAME = 'node1';
/** For pods that do without the cluster's DNS. */
export const RESOLV_CONF = `${NODE_FOLDER}/resolv.conf`;

// CNI keeps results in /var/lib/cni whatever it is told, the kubelet links logs in /var/log/containers: both get a place
// in memory. Everything else of /var/lib stays what it is. The kubelet insists on six kernel settings and would change
// them for the whole machine: it finds files of that content in their place. The default route makes the kernel take
// Service addresses, which kube-proxy's rules turn into pods' on the way.
const PREPARE = `set -eu
folder=$1; bridge=$2; address=$3
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs -o mode=0755 tmpfs /var/log
mkdir -m 0700 "$folder"
mkdir "$folder/lib"
mount --rbind /var/lib "$folder/lib"
mount -t tmpfs -o mode=0755 tmpfs /var/lib
for entry in "$folder"/lib/*/; do
  name=$(basename "$entry")
  if [ "$name" != cni ]; then mkdir "/var/lib/$name"; mount --rbind "$entry" "/var/lib/$name"; fi
done
umount -l "$folder/lib"
rmdir "$folder/lib"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \\
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file="$folder/settings/\${setting%=*}"
  mkdir -p "$(dirname "$file")"
  echo "\${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/\${setting%=*}"
done
ip link add "$bridge" type bridge
ip addr add "$address" dev "$bridge"
ip link set "$bridge" up
ip route add default dev "$bridge"
echo 1 > /proc/sys/net/ipv4/ip_forward`;

/**
 * Call once, before anything of the node starts.
 * @throws Error in the machine's own network namespace: a bridge and mounts there would be a disaster, not a test.
 */
export function prepareMachine(outerNetwork: string): void {
  if (readNetworkNamespace() === outerNetwork)
    throw new Error('a node must be started in namespaces of its own');
  execFileSync('sh', ['-c', PREPARE, 'sh', NODE_FOLDER, NODE_BRIDGE, `${NODE_ADDRESS}/24`], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  writeFileSync(RESOLV_CONF, `nameserver ${NODE_ADDRESS}\n`);
  mkdirSync('/var/lib/cni');
}
