/** Who may go where: rules, or a function. @module */
import { checkLimitSet, checkLimits, type LimitSet, type Limits } from './limits.ts';
import { type Publication, parsePublication } from './publication.ts';
import { awaitsSni, type FlowFacts, matches, meansName, meansPorts, parseRule, type Rule } from './rules.ts';

/** What was decided, and by what. */
export interface Decision {
  /** `sni`: the client must say the name of its TLS server first. */
  readonly verdict: 'allow' | 'deny' | 'sni';
  /** The rule, or why there was none. */
  readonly reason: string;
  /** What may go through this flow, instead of what holds for each. */
  readonly limits?: Limits | undefined;
  /**
   * The name that an upstream proxy may be told in place of the address, which it then finds by itself: only where the
   * address had no part in the decision.
   */
  readonly name?: string | null | undefined;
}

/** A policy of one's own: decides about each flow when it begins. What it throws denies. */
export type PolicyFunction = (facts: FlowFacts) => boolean | Decision | Promise<boolean | Decision>;

/** A policy as data, as it stands in a file. */
export interface PolicyDocument {
  /** What holds for a flow no rule means; by default `deny` where there are rules in `allow`, else `allow`. */
  readonly default?: 'allow' | 'deny';
  readonly allow?: readonly string[];
  /** They go before those in `allow`. */
  readonly deny?: readonly string[];
  readonly limits?: LimitSet;
  /** Ports of the machine that lead to the guest, as {@link parsePublication} reads them. */
  readonly publish?: readonly string[];
}

const KEYS: readonly string[] = ['default', 'allow', 'deny', 'limits', 'publish'];

export class Policy {
  readonly #allow: readonly Rule[];
  readonly #deny: readonly Rule[];
  readonly #default: 'allow' | 'deny';
  /** How much may go through what is allowed. */
  readonly limits: LimitSet | undefined;
  /** Ports of the machine that lead to the guest. */
  readonly publish: readonly Publication[];

  /** @throws TypeError for a document or a rule that is none */
  constructor(document: PolicyDocument = {}) {
    for (const key of Object.keys(document)) {
      if (!KEYS.includes(key)) throw new TypeError(`policy: expected ${KEYS.join(', ')}, got ${JSON.stringify(key)}`);
    }
    this.#allow = readRules('allow', document.allow);
    this.#deny = readRules('deny', document.deny);
    const fallback = document.default ?? (this.#allow.length > 0 ? 'deny' : 'allow');
    if (fallback !== 'allow' && fallback !== 'deny') {
      throw new TypeError(`policy: default: expected allow or deny, got ${JSON.stringify(fallback)}`);
    }
    this.#default = fallback;
    checkLimitSet('policy: limits', document.limits);
    this.limits = document.limits;
    this.publish = readTexts('publish', 'publications', document.publish).flatMap(readPublication);
  }

  /** Decides about a flow. A rule that wants a TLS name counts once the client has said one. */
  decide(facts: FlowFacts): Decision {
    const denied = this.#deny.find((rule) => matches(rule, facts));
    if (denied !== undefined) return { verdict: 'deny', reason: `denied by ${denied.text}` };
    if (this.#deny.some((rule) => awaitsSni(rule, facts))) return { verdict: 'sni', reason: 'the TLS name decides' };
    const allowed = this.#allow.find((rule) => matches(rule, facts));
    if (allowed !== undefined) {
      return { verdict: 'allow', reason: `allowed by ${allowed.text}`, name: this.#nameFor(facts, allowed) };
    }
    if (this.#default === 'allow') {
      return { verdict: 'allow', reason: 'no rule denies it', name: this.#nameFor(facts, null) };
    }
    if (this.#allow.some((rule) => awaitsSni(rule, facts))) return { verdict: 'sni', reason: 'the TLS name decides' };
    return { verdict: 'deny', reason: 'no rule allows it' };
  }

  /** A name that means the same: none where an address is denied or allowed, for another may answer to it elsewhere. */
  #nameFor(facts: FlowFacts, allowed: Rule | null): string | null {
    if (facts.names.length === 0 || (allowed !== null && allowed.prefix !== null)) return null;
    if (this.#deny.some((rule) => rule.prefix !== null && meansPorts(rule, facts))) return null;
    if (allowed === null || allowed.name === null) return facts.names[0]!;
    return facts.names.find((name) => meansName(allowed, name)) ?? null;
  }

  /** Whether a name may be asked for: not where it is denied on every port. */
  mayResolve(name: string): boolean {
    return !this.#deny.some((rule) => rule.ports === null && rule.protocol === null && meansName(rule, name));
  }
}

const readRules = (what: string, rules: unknown): readonly Rule[] => readTexts(what, 'rules', rules).map(parseRule);

function readTexts(what: string, of: string, texts: unknown): readonly string[] {
  if (texts === undefined) return [];
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === 'string')) {
    throw new TypeError(`policy: ${what}: expected an array of ${of}, got ${JSON.stringify(texts)}`);
  }
  return texts;
}

function readPublication(text: string): Publication[] {
  try {
    return parsePublication(text);
  } catch (error) {
    throw new TypeError(`policy: publish: ${(error as Error).message}`);
  }
}

/** Asks a policy of either kind; at once where it answers at once. */
export function decide(policy: Policy | PolicyFunction, facts: FlowFacts): Decision | Promise<Decision> {
  if (policy instanceof Policy) return policy.decide(facts);
  try {
    const answer = policy(facts);
    if (typeof answer === 'boolean' || !('then' in answer)) return readAnswer(answer);
    return answer.then(readAnswer).catch(failed);
  } catch (error) {
    return failed(error);
  }
}

/** Limits that are none deny: a function is not to let more through than it meant. */
function readAnswer(answer: boolean | Decision): Decision {
  if (typeof answer === 'boolean') return { verdict: answer ? 'allow' : 'deny', reason: 'the policy says so' };
  checkLimits('limits', answer.limits);
  return answer;
}

const failed = (error: unknown): Decision => ({
  verdict: 'deny',
  reason: `the policy failed: ${error instanceof Error ? error.message : error}`,
});
