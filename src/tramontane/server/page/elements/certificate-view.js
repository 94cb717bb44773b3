// The proof of a withdrawal: three hashes, and what their being equal means.

import { clear, make, newId } from "/dom.js";
import { count, shortHash } from "/words.js";

class CertificateView extends HTMLElement {
  connectedCallback() {
    const { certificate } = this;
    const id = newId("certificate");
    const rows = [
      ["With it", certificate.logits_with_expert],
      ["After withdrawing", certificate.logits_after],
      ["Never had it", certificate.logits_never_built],
    ];
    clear(
      this,
      make(
        "section",
        { class: "certificate", "aria-labelledby": id },
        make("h3", { id }, "Certificate of withdrawal"),
        make("p", {}, verdict(certificate)),
        make(
          "table",
          {},
          make(
            "caption",
            {},
            `Hashes of the model’s output over ${count(certificate.probe_tokens, "token")}`,
          ),
          make(
            "tbody",
            {},
            rows.map(([name, hash]) =>
              make(
                "tr",
                {},
                make("th", { scope: "row" }, name),
                make("td", {}, make("code", { title: hash }, shortHash(hash))),
              ),
            ),
          ),
        ),
        make("p", { class: "note" }, standing(certificate)),
        make(
          "button",
          { type: "button", class: "quiet", onclick: (event) => this.copy(event.target) },
          "Copy as JSON",
        ),
      ),
    );
  }

  async copy(button) {
    try {
      await navigator.clipboard.writeText(JSON.stringify(this.certificate, null, 2));
      button.textContent = "Copied";
    } catch {
      button.textContent = "The browser didn’t allow copying";
    }
  }
}

function verdict({ expert, is_exact: isExact, probe_tokens: num }) {
  return isExact
    ? `Exact. Over ${count(num, "token")} the model gives the same bits as one built without ${expert}.`
    : `Not exact. After withdrawing ${expert}, the model differs from one built without it. Please report this: it should not happen.`;
}

function standing({
  expert_was_heard: wasHeard,
  experts_left: left,
  mixture,
  mixture_hash_after: hash,
}) {
  const heard = wasHeard
    ? "With the expert the bits were different, so the check could have failed."
    : "The expert had been silent on these tokens, so this check alone could not have failed.";
  return `${heard} Mixture ${mixture} is now ${shortHash(hash)}, with ${count(left.length, "expert")} left.`;
}

customElements.define("certificate-view", CertificateView);
