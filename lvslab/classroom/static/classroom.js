// Copy buttons on what can be typed, and F6 from one part of the page to the next: a terminal takes
// the Tab key for itself.
(() => {
    "use strict";
    const word = (name) => document.querySelector(`meta[name=lvslab-${name}]`)?.content || name;
    const [copyWord, copiedWord] = [word("copy"), word("copied")];

    async function copy(text) {
        if (navigator.clipboard) {
            await navigator.clipboard.writeText(text);
            return;
        }
        const area = document.createElement("textarea");
        area.value = text;
        document.body.append(area);
        area.select();
        document.execCommand("copy");
        area.remove();
    }

    const drawing = /[│─┬┴┼├┤]/;

    function equip(root) {
        for (const block of root.querySelectorAll(".lab-text pre:not([data-equipped]), .hint pre:not([data-equipped])")) {
            block.dataset.equipped = "yes";
            const text = block.innerText.trim();
            if (drawing.test(text)) continue;
            const button = document.createElement("button");
            button.type = "button";
            button.className = "copy";
            button.textContent = copyWord;
            button.addEventListener("click", async () => {
                await copy(text.replace(/^\$ /gm, ""));
                button.textContent = copiedWord;
                setTimeout(() => { button.textContent = copyWord; }, 1500);
            });
            block.append(button);
        }
        for (const code of root.querySelectorAll(".lab-text code:not([data-equipped]), .hint code:not([data-equipped])")) {
            code.dataset.equipped = "yes";
            if (code.closest("pre") || !code.textContent.includes(" ")) continue;
            code.classList.add("copies");
            code.tabIndex = 0;
            code.setAttribute("role", "button");
            code.title = copyWord;
            const act = async () => {
                await copy(code.textContent);
                code.title = copiedWord;
            };
            code.addEventListener("click", act);
            code.addEventListener("keydown", (event) => { if (event.key === "Enter") act(); });
        }
    }

    function nextPart(back) {
        const parts = [...document.querySelectorAll(".lab-text, .network button, .exam button, .terminal textarea")];
        const group = (part) => part.closest(".lab-text, .network, .exam, .terminal");
        const here = document.activeElement && group(document.activeElement);
        const groups = [...new Set(parts.map(group))];
        if (!groups.length) return;
        const place = groups.indexOf(here);
        const next = groups[(place + (back ? -1 : 1) + groups.length) % groups.length];
        const target = parts.find((part) => group(part) === next);
        if (target) target.focus();
    }

    addEventListener("keydown", (event) => {
        if (event.key !== "F6") return;
        event.preventDefault();
        event.stopPropagation();
        nextPart(event.shiftKey);
    }, true);
    new MutationObserver(() => equip(document)).observe(document.documentElement, { childList: true, subtree: true });
    equip(document);
})();
