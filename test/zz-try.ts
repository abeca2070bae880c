import { bbr } from '../src/tcp/congestion/bbr.ts';
import { cubic } from '../src/tcp/congestion/cubic.ts';
import { newreno } from '../src/tcp/congestion/newreno.ts';
import { Flow, Link, MSS, mean, run, throughput } from './congestion-path.ts';
for (const [p, rtt] of [[1e-3,100],[1e-4,100],[1e-5,100],[1e-3,10],[1e-4,10]] as const) {
  for (const cc of [cubic,newreno]) {
  const f = new Flow(cc, new Link({ mbps: 1e6, lossEvery: Math.round(1/p) }), { rttMs: rtt });
  const cycle = Math.max(1/p/ (1.054*((rtt/1000)**.75)/p**.75) , 1/p/Math.sqrt(1.5/p))*rtt;
  run([f], 5*cycle);
  const w = mean(f, 5*cycle+ 20*cycle, x=>x.c.cwnd/MSS);
  console.log(cc.name, p, rtt, w.toFixed(1), 'cubic', (1.054*((rtt/1000)**.75)/p**.75).toFixed(1), 'reno', Math.sqrt(1.5/p).toFixed(1));
  }
}
for (const rtt of [5,20,100]) for (const loss of [0,.001,.01,.02,.03]) {
  const bdp = 100e6/8*rtt/1000;
  const out: string[] = [];
  for (const cc of [bbr,cubic,newreno]) {
  const f = new Flow(cc, new Link({ mbps: 100, bufferBytes: bdp, loss }), { rttMs: rtt });
  const t = throughput(f, 20000);
  out.push(`${cc.name} ${t.toFixed(1)} q=${(f.link.queueBytes(f.nowUs)/bdp).toFixed(2)} losses ${f.losses}`);
  }
  console.log(rtt, loss, out.join(' | '));
}
