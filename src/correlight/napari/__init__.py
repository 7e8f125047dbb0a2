"""The plug-in for napari: a shell around `correlight.register` in which people see both images while they decide.

``napari.yaml`` names what napari offers of it. Nothing else imports napari, and nothing here decides about images:
layers become images (`layers`), the work runs in a thread that can be cancelled (`work`), and what comes out is laid
over the fixed layer (`placing`, `result_view`) and saved as the command line saves it.
"""
