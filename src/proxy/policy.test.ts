import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IpAddress } from '../wire/address.ts';
import { decide, Policy, type PolicyDocument } from './policy.ts';
import { type FlowFacts, matches, parseRule } from './rules.ts';

const facts = (changes: Partial<Omit<FlowFacts, 'address'>> & { to?: string } = {}): FlowFacts => {
  const { to = '198.51.100.7', ...rest } = changes;
  const source = { sourceAddress: IpAddress.parse('10.0.2.100'), sourcePort: 4000 };
  return { protocol: 'tcp', ...source, address: IpAddress.parse(to), port: 443, names: [], sni: null, ...rest };
};

test('what a rule means', () => {
  const named = { names: ['www.example.org'] };
  const rows: [rule: string, flow: FlowFacts, means: boolean][] = [
    ['*', facts(), true],
    ['*:443', facts(), true],
    ['*:80', facts(), false],
    ['*:400-500', facts(), true],
    ['*:*', facts(), true],
    ['udp:*:443', facts(), false],
    ['UDP:*:443', facts({ protocol: 'udp' }), true],
    ['icmp:*', facts({ protocol: 'icmp', port: 0 }), true],
    ['*:443', facts({ protocol: 'icmp', port: 0 }), false],
    ['198.51.100.7', facts(), true],
    ['198.51.100.7:443', facts(), true],
    ['198.51.100.0/24:443', facts(), true],
    ['198.51.101.0/24', facts(), false],
    ['0.0.0.0/0', facts({ to: '2001:db8::1' }), false],
    ['::/0', facts(), false],
    ['::/0', facts({ to: '2001:db8::1' }), true],
    ['2001:db8::/32', facts({ to: '2001:db8::1' }), true],
    ['[2001:db8::1]:443', facts({ to: '2001:db8::1' }), true],
    ['tcp:[2001:db8::/32]:80', facts({ to: '2001:db8::1' }), false],
    ['www.example.org', facts(named), true],
    ['WWW.example.org.', facts(named), true],
    ['example.org', facts(named), false],
    ['*.example.org:443', facts(named), true],
    ['*.example.org', facts({ names: ['example.org'] }), false],
    ['*.example.org', facts({ names: ['badexample.org'] }), false],
    ['sni=www.example.org', facts({ sni: 'www.example.org' }), true],
    ['sni=*.example.org:443', facts({ sni: 'a.b.example.org' }), true],
    ['sni=www.example.org', facts(named), false],
  ];
  for (const [rule, flow, means] of rows) assert.equal(matches(parseRule(rule), flow), means, rule);
});

test('how rules decide together', () => {
  const rows: [PolicyDocument, FlowFacts, verdict: string][] = [
    [{}, facts(), 'allow'],
    [{ allow: ['*:80'] }, facts(), 'deny'],
    [{ allow: ['*:80'], default: 'allow' }, facts(), 'allow'],
    [{ allow: ['*'], deny: ['*:443'] }, facts(), 'deny'],
    [{ default: 'deny' }, facts(), 'deny'],
    [{ allow: ['sni=a.test'] }, facts(), 'sni'],
    [{ allow: ['sni=a.test:443'] }, facts({ port: 80 }), 'deny'],
    [{ allow: ['sni=a.test'] }, facts({ protocol: 'udp' }), 'deny'],
    [{ allow: ['sni=a.test'] }, facts({ sni: 'a.test' }), 'allow'],
    [{ allow: ['sni=a.test'] }, facts({ sni: 'b.test' }), 'deny'],
    [{ allow: ['sni=a.test'] }, facts({ sni: '' }), 'deny'],
    [{ deny: ['sni=a.test'] }, facts(), 'sni'],
    [{ deny: ['sni=a.test'] }, facts({ sni: 'a.test' }), 'deny'],
    [{ deny: ['sni=a.test'] }, facts({ sni: '' }), 'allow'],
    [{ allow: ['198.51.100.7', 'sni=a.test'] }, facts(), 'allow'],
  ];
  for (const [document, flow, verdict] of rows) {
    assert.equal(new Policy(document).decide(flow).verdict, verdict, JSON.stringify(document));
  }
  const policy = new Policy({ deny: ['bad.test', '*.evil.test', 'half.test:80'] });
  const names = ['bad.test', 'x.evil.test', 'half.test', 'good.test'];
  assert.deepEqual(
    names.map((name) => policy.mayResolve(name)),
    [false, false, true, true],
  );
});

test('a proxy is told a name where the address has no part in the decision', () => {
  const names = ['latest.test', 'alias.test'];
  const rows: [name: string, document: PolicyDocument, names: string[], expected: string | null][] = [
    ['nothing is denied', {}, names, 'latest.test'],
    ['no name is known', {}, [], null],
    ['any is allowed', { allow: ['*:443'] }, names, 'latest.test'],
    ['the name is allowed', { allow: ['alias.test'] }, names, 'alias.test'],
    ['so is a pattern', { allow: ['*.test'] }, names, 'latest.test'],
    ['the address is allowed', { allow: ['10.0.0.0/8'] }, names, null],
    ['another address is denied', { deny: ['192.0.2.0/24'] }, names, null],
    ['another address is denied, and the name allowed', { allow: ['*.test'], deny: ['192.0.2.1'] }, names, null],
    ['another address is denied, of another protocol', { deny: ['udp:192.0.2.0/24'] }, names, 'latest.test'],
    ['another address is denied, at another port', { deny: ['192.0.2.0/24:80'] }, names, 'latest.test'],
    ['another name is denied', { deny: ['else.test'] }, names, 'latest.test'],
  ];
  for (const [name, document, known, expected] of rows) {
    const flow = facts({ to: '10.1.2.3', names: known });
    const { verdict, name: told = null } = new Policy(document).decide(flow);
    assert.deepEqual([verdict, told], ['allow', expected], name);
  }
});

test('a function may say why', async () => {
  const decision = { verdict: 'deny', reason: 'it is late' } as const;
  assert.deepEqual(await decide(() => decision, facts()), decision);
  assert.equal((await decide(async () => true, facts())).verdict, 'allow');
  assert.match((await decide(() => Promise.reject(new Error('oh')), facts())).reason, /oh/);
});
