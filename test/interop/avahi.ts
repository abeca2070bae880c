/** Debian's own mDNS, in a namespace. @module */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from './namespace.ts';

/**
 * Starts dbus and avahi-daemon, which know nothing of those of the machine.
 * @param folder - where their files go   @param name - of the host   @param iface - the interface that they serve
 * @returns what a client is run with
 */
export async function avahi(
  space: Namespace,
  folder: string,
  name: string,
  iface: string,
): Promise<readonly [string, string]> {
  const bus = join(folder, 'bus');
  const every = ['method_call', 'signal', 'method_return', 'error']
    .map((type) => `<allow send_type="${type}"/><allow receive_type="${type}"/>`)
    .join('');
  writeFileSync(
    join(folder, 'bus.conf'),
    '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" ' +
      '"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">' +
      `<busconfig><type>system</type><listen>unix:path=${bus}</listen><auth>EXTERNAL</auth>` +
      `<policy context="default"><allow user="*"/><allow own="*"/>${every}</policy></busconfig>`,
  );
  const config = join(folder, 'avahi.conf');
  const publish = '[publish]\npublish-hinfo=no\npublish-workstation=no\n';
  writeFileSync(
    config,
    `[server]\nhost-name=${name}\nuse-ipv4=yes\nuse-ipv6=no\nallow-interfaces=${iface}\n${publish}`,
  );
  const dbus = space.spawn(
    'dbus-daemon',
    `--config-file=${join(folder, 'bus.conf')}`,
    '--nofork',
    '--nopidfile',
    '--print-address',
  );
  await dbus.line(/unix:path/);
  // `ip netns exec` gives each program mounts of its own: a /run where no other daemon has left its pid.
  const start = `mount -t tmpfs none /run && exec avahi-daemon -f ${config} --no-drop-root --no-chroot --no-rlimits`;
  const daemon = space.spawn('env', `DBUS_SYSTEM_BUS_ADDRESS=unix:path=${bus}`, 'sh', '-c', start);
  await daemon.errorLine(/Server startup complete/);
  return ['env', `DBUS_SYSTEM_BUS_ADDRESS=unix:path=${bus}`];
}
