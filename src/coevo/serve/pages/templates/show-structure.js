/* Shows the structure of an entry by chemiscope. Nothing is loaded from anywhere but this server. */
"use strict";
(function () {
    const place = document.getElementById("structure");
    const note = document.getElementById("structure-note");
    const say = (text) => { note.textContent = text; };
    if (typeof Chemiscope === "undefined") {
        say("The structure cannot be shown: chemiscope is not installed where the server runs.");
        return;
    }
    const warnings = new Chemiscope.Warnings();
    warnings.addHandler(say);
    fetch(place.dataset.source)
        .then((answer) => {
            if (!answer.ok) { throw new Error("the server answers " + answer.status); }
            return answer.json();
        })
        .then((data) => Chemiscope.StructureVisualizer.load(
            { meta: "structure-meta", structure: "structure", info: "structure-info" }, data, warnings))
        .then(() => { place.dataset.shown = "yes"; })
        .catch((error) => say("The structure cannot be shown: " + error.message));
})();
